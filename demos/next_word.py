# %% [markdown]
# # Prediction of the next word
#
# In language the future is the next word. A table of words, one row of numbers per word, is shared by all positions of
# the context; an MLP reads the rows side by side and gives the logits of the next word. Nobody says what a word means;
# what the table holds in the end is what helps to predict.

# %%
import re
import sys
from collections import Counter

import numpy as np
from gallery import Demo, interval, plt, pm, progress
from scipy.sparse import csr_array

import minissl
from minissl.tasks.prediction import windows
from minissl.tasks.words import generate, next_word, perplexity, vocabulary

demo = Demo(
    "next_word",
    "Prediction of the next word",
    "In language: predict the next word. The network learns a representation of words, and it can generate text.",
    "P(next = v | c_1, ..., c_k) = softmax_v f(E_{c_1}, ..., E_{c_k}),   perplexity = exp(-mean ln P)",
)
try:
    from pydoc_data.topics import topics
except ImportError:
    sys.exit("next_word: this Python comes without pydoc_data.topics, the text of this demo; a full CPython has it")
SEEDS = range(2 if demo.quick else 4)
EPOCHS = 1 if demo.quick else 10
SHARES = (0.5, 1.0) if demo.quick else (0.25, 0.5, 1.0)  # of the training text
CONTEXT, DIMENSION, HIDDEN, UNSEEN = 4, 32, 64, 0.3
END = "¶"


# %% [markdown]
# ## The text
#
# The language reference that `help()` prints, and every Python carries: paragraphs of prose, each once. Syntax tables,
# programs, signatures and headings are left out, and quoted code within a sentence becomes one token. (The text differs
# between Python versions, and so do the numbers below.)


# %%
def prose():
    """Paragraphs of running English, without repetition."""
    kept = {}
    for paragraph in "\n\n".join(topics.values()).split("\n\n"):
        lines = paragraph.strip("\n").split("\n")
        code = lines[0].startswith("   ") or any(line.startswith("     ") for line in lines)
        markup = re.search(r"::=|>>>|\*\*\*|===|---|^[\w.]+\(", paragraph.strip())
        text = re.sub(r"^(\*|\d+\.|\[\d+\]) ", "", " ".join(paragraph.split()))
        if not code and not markup and len(text.split()) > 5 and text[-1] in ".:!?":
            kept[text] = None
    return list(kept)


def tokens(text):
    """Words and punctuation in lower case; quotations that are no plain words become <code>."""
    text = re.sub(
        r'["“`]([^"”`]*)["”`]+', lambda m: m[1] if re.fullmatch("[a-z ]+", m[1]) else " <code> ", text.lower()
    )
    return re.findall(r"<code>|[a-z]+(?:['’-][a-z]+)*|[.,;:()?!]", text)


paragraphs = [[END, *tokens(text)] for text in prose()]


def split(seed, share=1.0):
    """The vocabulary (words seen three times or more), training text (or a share of it), validation and test text."""
    order = np.random.default_rng(seed).permutation(len(paragraphs))
    tenth = len(order) // 10
    parts = order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth]
    train, validation, test = ([word for i in part for word in paragraphs[i]] for part in parts)
    words = vocabulary(train, 1 + sum(times >= 3 for times in Counter(train).values()))
    train = train[: int(share * len(train))]
    return words, *(words.encode(text) for text in (train, validation, test))


words, text, _, test = split(0)
demo.say(
    f"{len(paragraphs)} paragraphs, {sum(map(len, paragraphs)):,} tokens; {len(text):,} to train on. Vocabulary: "
    f"{len(words.words)} words; {100 * (test == 0).mean():.0f}% of the held-out text is unknown words."
)


# %% [markdown]
# ## The rivals: counts
#
# An n-gram model counts what followed the last n-1 words. Interpolated Kneser-Ney smoothing (Chen & Goodman 1999) takes
# a discount D off every count and gives it to the next shorter context, which counts in how many *different* contexts a
# word was seen:
#
#     P_n(w | c) = [max(N(c w) - D, 0) + D T(c) P_{n-1}(w | c')] / N(c),    T(c) = different words seen after c


# %%
def kneser_ney(text, n, V):
    """A function of contexts (N, k >= n-1) to log-probabilities (N, V)."""
    levels = []
    for m in range(1, n + 1):
        grams, counts = np.unique(windows(text, m), axis=0, return_counts=True)
        if m < n:  # in how many different contexts
            grams, counts = np.unique(np.unique(windows(text, m + 1), axis=0)[:, 1:], axis=0, return_counts=True)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        rows = grams[:, :-1] @ V ** np.arange(m - 1)
        table = csr_array((counts.astype(float), (rows, grams[:, -1])), shape=(V ** (m - 1), V))
        levels.append((table, once / max(1, once + 2 * twice)))

    def model(contexts):
        P = np.full((len(contexts), V), 1 / V)
        for m, (table, D) in enumerate(levels):
            N = table[contexts[:, contexts.shape[1] - m :] @ V ** np.arange(m)].toarray()
            total, different = N.sum(axis=1, keepdims=True), (N > 0).sum(axis=1, keepdims=True)
            P = np.where(total > 0, (np.maximum(N - D, 0) + D * different * P) / np.maximum(total, 1), P)
        return np.log(P)

    return model


# %% [markdown]
# ## The network
#
# A text this short is soon learnt by heart. Against that: in every batch 30% of the context words, chosen anew, are
# replaced by the unknown-word token (predict from what is left: masking as in the autoencoders), and the epoch is kept
# that is best on a validation text.


# %%
def some_words_hidden(x, rng):
    input, target = next_word(CONTEXT)(x, rng)
    return np.where(rng.random(input.shape) < UNSEEN, 0, input), target


def network(text, validation, V, seed):
    net = minissl.EmbeddingMLP(V, CONTEXT, DIMENSION, (HIDDEN,), rng=seed)
    held_out, best = windows(validation, CONTEXT + 1), (np.inf, None)
    settings = {"epochs": EPOCHS, "batch_size": 64, "optimizer": minissl.Adam(2e-3), "rng": seed}
    losses = minissl.train_epochs(net, windows(text, CONTEXT + 1), some_words_hidden, minissl.softmax_cross_entropy, **settings)
    for _ in progress(losses, EPOCHS, f"network {seed}"):
        best = min(best, (perplexity(net, held_out), net.theta.copy()), key=lambda pair: pair[0])
    net.theta[:] = best[1]
    return net


def half_and_half(net, trigram):
    """The mean of the two models' probabilities, as log-probabilities."""

    def model(contexts):
        Y = net(contexts).astype(float)
        return np.logaddexp(Y - np.logaddexp.reduce(Y, axis=1, keepdims=True), trigram(contexts)) - np.log(2)

    return model


# %% [markdown]
# ## Who predicts best, and from how much text
#
# Each seed holds out another tenth of the paragraphs and starts another network. Parts of the text show how the
# comparison depends on the amount of it.

# %%
measured, models = np.empty((len(SHARES), len(SEEDS), 5)), {}
for i, share in enumerate(SHARES):
    for seed in SEEDS:
        words, text, validation, test = split(seed, share)
        V, held_out = len(words.words), windows(test, CONTEXT + 1)
        grams = {name: kneser_ney(text, n, V) for n, name in enumerate(("unigram", "bigram", "trigram"), 1)}
        net = network(text, validation, V, seed)
        rivals = grams | {"network": net, "network + trigram": half_and_half(net, grams["trigram"])}
        measured[i, seed] = [perplexity(model, held_out) for model in rivals.values()]
        models[seed] = words, net, grams["trigram"], text  # in the end, those of all the text
        sums = np.exp(grams["trigram"](held_out[:50, :-1])).sum(axis=1)
        assert abs(sums - 1).max() < 1e-9, "the smoothed probabilities do not sum to one"

sizes, names = [int(share * len(split(0)[1])) for share in SHARES], list(rivals)
ratio, mixed = measured[:, :, 3] / measured[:, :, 2], measured[-1, :, 4] / measured[-1, :, 2]
demo.table(
    f"Perplexity of held-out text, {len(SEEDS)} seeds, mean ± half-width of the 95% interval",
    ["training tokens", *names, "network / trigram"],
    [[f"{n:,}", *(pm(v, 1) for v in m.T), pm(r, 2)] for n, m, r in zip(sizes, measured, ratio, strict=True)],
    "A model that knows nothing has the size of the vocabulary.",
)
gap, shift = ratio[-1], ratio[0] - ratio[-1]
trend = "more text favours the network" if interval(shift)[0] > interval(shift)[1] else "no clear trend"
demo.say(
    f"The network's perplexity is {abs(100 * (gap.mean() - 1)):.0f}% {'above' if gap.mean() > 1 else 'below'} the "
    f"smoothed trigram's (ratio {pm(gap, 2)}). From {sizes[0]:,} to {sizes[-1]:,} tokens the ratio falls by "
    f"{pm(shift, 2)}: {trend}. (Bengio et al. trained on 0.8 and 14 million words, and there the network won.) "
    f"The mean of network and trigram has {pm(mixed, 2)} times the trigram's perplexity: "
    + ("they know different things." if sum(interval(mixed)) < 1 else "no clear gain over the counts alone.")
)


def familiar_or_not(seed):
    """Share of held-out words that followed the same two words in training; perplexity of these, and of the others."""
    words, net, trigram, text = models[seed]
    held_out, places = windows(split(seed)[3], CONTEXT + 1), len(words.words) ** np.arange(3)
    familiar = np.isin(held_out[:, -3:] @ places, windows(text, 3) @ places)
    parts = held_out[familiar], held_out[~familiar]
    return familiar.mean(), *(perplexity(model, part) for part in parts for model in (trigram, net))


share, *four = np.transpose([familiar_or_not(seed) for seed in SEEDS])
groups = zip(("familiar", "new"), (share, 1 - share), four[::2], four[1::2], strict=True)
demo.table(
    "Why: perplexity of held-out words that followed the same two words in training (familiar), and of the others",
    ["", "share of words", "trigram", "network"],
    [[which, pm(part, 2), pm(counts, 1), pm(neural, 1)] for which, part, counts, neural in groups],
    "A reference manual repeats itself word for word: there counting is hard to beat.",
)

# %%
fig, ax = plt.subplots(figsize=(7, 4))
for name, m, style in zip(names, measured.T, ("k:", "k--", "k-", "C3-", "C0-"), strict=True):
    mean, half_width = interval(m)
    ax.errorbar(sizes, mean, yerr=half_width, fmt=style, capsize=3, label=name)
ax.set(xscale="log", yscale="log", xlabel="training tokens", ylabel="perplexity of held-out text")
ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
ticks = [40, 60, 80, 100, 150, 200]
ax.set_yticks(ticks, ticks)
ax.minorticks_off()
ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
demo.figure(fig, "perplexity", "Perplexity against the amount of training text (lower is better; bars: 95% intervals).")


# %% [markdown]
# ## What the table of words holds
#
# Words that may stand in for one another come to lie near one another. Nearest by the cosine, among the frequent words.


# %%
def similarities(net, chosen):
    E = net.embedding[chosen] - net.embedding[chosen].mean(axis=0)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    return E @ E.T


words, net, trigram, text = models[0]
frequent = np.arange(1, min(400, len(words.words)))
near = similarities(net, frequent)
asked = ["list", "method", "class", "must", "first", "when", "defined", "is", "<code>"]
rows = []
for word in (w for w in asked if 1 <= words.numbers.get(w, 0) < len(frequent)):
    order = np.argsort(-near[words.numbers[word] - 1])[1:7]
    rows.append([word, ", ".join(words.decode(frequent[order]))])
demo.table("Nearest neighbours in the learned embedding (400 most frequent words)", ["word", "nearest first"], rows)


def plural_rank(net, words):
    """Median rank, as a share of the vocabulary, of a word's plural among its neighbours."""
    near = similarities(net, np.arange(len(words.words)))
    pairs = [(v, words.numbers[w + "s"]) for w, v in words.numbers.items() if len(w) > 2 and w + "s" in words.numbers]
    ranks = [(near[v] > near[v, s]).sum() for v, s in pairs]
    return np.median(ranks) / len(words.words)


ranks, chance = [], []
for seed, (known, trained, *_) in models.items():
    ranks.append(plural_rank(trained, known))
    chance.append(plural_rank(minissl.EmbeddingMLP(len(known.words), CONTEXT, DIMENSION, (HIDDEN,), rng=seed), known))
demo.say(
    "The network sees numbers, not letters. Ask for the neighbours of a word in order: its plural (word + s) comes "
    f"after a share of {pm(ranks, 2)} of the vocabulary (median); before training after {pm(chance, 2)}."
)

# %%
E = net.embedding[frequent] - net.embedding[frequent].mean(axis=0)
xy = (E @ np.linalg.svd(E, full_matrices=False)[2][:2].T)[:110]
fig, ax = plt.subplots(figsize=(11, 7.5))
ax.scatter(*xy.T, s=4, color="C3")
for word, place in zip(words.decode(frequent), xy, strict=False):
    ax.annotate(word, place, fontsize=8, xytext=(2, 1), textcoords="offset points")
ax.set(xlabel="first principal component of the embedding", ylabel="second")
demo.figure(fig, "words", "The most frequent words in the plane of greatest variance of their embedding.")


# %% [markdown]
# ## New text
#
# Each word drawn becomes context for the next. A low temperature stays with what is likely; the trigram for comparison.


# %%
def paragraphs_by(model, temperature, number=3, length=28):
    def without_unknown(contexts):
        Y = model(contexts).copy()
        Y[:, 0] = -np.inf
        return Y

    drawn = generate(without_unknown, starts[:number], length, temperature=temperature, rng=0)
    lines = [" ".join(words.decode(row)).split(END)[0].strip() for row in drawn]
    return " | ".join(re.sub(r" ([.,;:)?!])", r"\1", line).replace("( ", "(") for line in lines)


starts = windows(text, CONTEXT)[text[CONTEXT - 1 :] == words.numbers[END]]  # where a paragraph begins
for name, model, temperature in (("Network", net, 0.5), ("Network", net, 1.0), ("Trigram", trigram, 1.0)):
    demo.say(f"{name}, temperature {temperature}: {paragraphs_by(model, temperature)}")
demo.finish()
