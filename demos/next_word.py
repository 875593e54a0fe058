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

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import before  # noqa: F401
import numpy as np
from gallery import Demo, plt, progress
from scipy.sparse import csr_array
from scipy.special import softmax, stdtrit

import minissl
from minissl.nn.schedules import constant, cosine
from minissl.tasks.prediction import windows
from minissl.tasks.words import generate, next_word, perplexity, vocabulary

demo = Demo(
    "next_word",
    "Prediction of the next word",
    "In language: predict the next word. The network learns a representation of words, and it can generate text.",
    "P(v | c₁, …, cₖ) = exp(Y_v)/Σᵤ exp(Yᵤ),  Y = f(E_{c₁}, …, E_{cₖ});    perplexity = exp(−mean ln P)",
    limits="One text, a reference manual of 30,000 words that repeats itself; on another kind of text, or on millions "
    "of words, the order of the models may be another. Every unknown word counts as the one token that stands for "
    "them, which lowers every perplexity. The network sees four words. Its settings were chosen on the validation "
    "texts of two splits, by a few trials; the trigram's discounts follow from the counts.",
)
try:
    from pydoc_data.topics import topics
except ImportError:
    sys.exit("next_word: this Python comes without pydoc_data.topics, the text of this demo; a full CPython has it")
SEEDS = range(2 if demo.quick else 4)
EPOCHS = 1 if demo.quick else 10
SHARES = (0.5, 1.0) if demo.quick else (0.25, 0.5, 1.0)  # of the training text
CONTEXT, DIMENSION, HIDDEN = 4, 32, 64
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


paragraphs = [[END, *tokens(text)] for text in prose()][: 250 if demo.quick else None]


TENTHS = np.array_split(np.random.default_rng(0).permutation(len(paragraphs)), 10)


def split(seed, share=1.0):
    """The vocabulary (words seen three times or more), training text (or a share of it), validation and test text.

    Test texts are tenths 0, 2, 4, 6, validation texts tenths 1, 3, 5, 7: nothing is ever chosen on a test text.
    """
    held_out = 2 * seed, 2 * seed + 1
    order = np.concatenate([tenth for i, tenth in enumerate(TENTHS) if i not in held_out])
    order = np.random.default_rng(seed).permutation(order)
    parts = order, TENTHS[2 * seed + 1], TENTHS[2 * seed]
    train, validation, test = ([word for i in part for word in paragraphs[i]] for part in parts)
    words = vocabulary(train, 1 + sum(times >= 3 for times in Counter(train).values()))
    train = train[: int(share * len(train))]
    return words, *(words.encode(text) for text in (train, validation, test))


words, text, _, test = split(0)
demo.say(
    f"{len(paragraphs)} paragraphs, {sum(map(len, paragraphs)):,} tokens; {len(text):,} to train on. Vocabulary: "
    f"{len(words)} words; {100 * (test == 0).mean():.0f}% of the held-out text is unknown words."
)


# %% [markdown]
# ## The rivals: counts
#
# An n-gram model counts what followed the last n − 1 words. Interpolated Kneser-Ney smoothing (Chen & Goodman 1999)
# takes a discount D off every count and gives it to the next shorter context c′, which counts in how many *different*
# contexts a word was seen; T(c) is the number of different words seen after c:
#
#     Pₙ(w | c) = [max(N(c w) − D, 0) + D T(c) Pₙ₋₁(w | c′)] / N(c)


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
        P = np.full((1, V), 1 / V)  # one row, as long as the context is empty
        for m, (table, D) in enumerate(levels):
            N = table[contexts[:, contexts.shape[1] - m :] @ V ** np.arange(m) if m else [0]].toarray()
            total, different = N.sum(axis=1, keepdims=True), (N > 0).sum(axis=1, keepdims=True)
            P = np.where(total > 0, (np.maximum(N - D, 0) + D * different * P) / np.maximum(total, 1), P)
        return np.broadcast_to(np.log(P), (len(contexts), V))

    return model


# %% [markdown]
# ## The network
#
# A text this short is soon learned by heart. Two remedies, chosen on a validation text. *Stopped early*: keep the
# parameters of the epoch that is best there. *Weight decay*: after each epoch all parameters shrink by a fifth, times
# the factor of the schedule by which the learning rate falls.


# %%
def network(text, validation, V, seed, rate=6e-3, schedule=cosine, decay=0.2):
    """The network of the epoch that is best on the validation text, and that of the last epoch."""
    net = minissl.EmbeddingMLP(V, CONTEXT, DIMENSION, (HIDDEN,), rng=seed)
    held_out, best, value = windows(validation, CONTEXT + 1), None, np.inf
    losses = minissl.train_epochs(
        net,
        windows(text, CONTEXT + 1),
        next_word(CONTEXT),
        minissl.softmax_cross_entropy,
        epochs=EPOCHS,
        batch_size=128,
        optimizer=minissl.Adam(rate),
        schedule=schedule,
        rng=seed,
    )
    for epoch, _ in enumerate(progress(losses, EPOCHS, f"network {seed}"), 1):
        last, now = net.at(net.theta.copy()), perplexity(net, held_out)
        if now < value:
            best, value = last, now
        net.theta *= 1 - decay * schedule(epoch / EPOCHS)
    return best, last


def half_and_half(net, trigram):
    """The mean of the two models' probabilities, as log-probabilities."""

    def model(contexts):
        return np.log((softmax(net(contexts).astype(float), axis=1) + np.exp(trigram(contexts))) / 2)

    return model


# %% [markdown]
# ## Intervals for one text
#
# Each split holds out another tenth of the paragraphs, and starts another network. The splits share most of their
# training text, so their results depend on each other, and the usual interval would be too narrow. Nadeau & Bengio
# (2003) widen it: the variance of the mean of J splits is taken as (1/J + size of test/size of training text) times
# that of the values. All intervals here are of this kind, mean ± 95%, and all comparisons are made within splits.


# %%
def corrected(values, share=1.0):
    """Mean over the splits and half-width of its 95% interval."""
    values, J = np.asarray(values), len(values)
    return values.mean(), stdtrit(J - 1, 0.975) * values.std(ddof=1) * np.sqrt(1 / J + 1 / (8 * share))


def pm(values, digits, share=1.0):
    mean, half = corrected(values, share)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


# %% [markdown]
# ## Who predicts best, and from how much text

# %%
measured, models, with_decay = np.empty((len(SHARES), len(SEEDS), 5)), {}, []
for i, share in enumerate(SHARES):
    for seed in SEEDS:
        words, text, validation, test = split(seed, share)
        V, held_out = len(words), windows(test, CONTEXT + 1)
        grams = {name: kneser_ney(text, n, V) for n, name in enumerate(("unigram", "bigram", "trigram"), 1)}
        net, last = network(text, validation, V, seed)
        rivals = grams | {"network": net, "network + trigram": half_and_half(net, grams["trigram"])}
        measured[i, seed] = [perplexity(model, held_out) for model in rivals.values()]
        if i == 0:
            with_decay.append([measured[i, seed, 3], perplexity(last, held_out)])
        models[seed] = words, net, grams["trigram"], text  # in the end, those of all the text
        sums = np.exp(grams["trigram"](held_out[:50, :-1])).sum(axis=1)
        assert abs(sums - 1).max() < 1e-9, "the smoothed probabilities do not sum to one"


def cells(of_share, share):
    """Perplexities; bold the least, and what is not told apart from it within splits."""
    least = of_share[:, of_share.mean(axis=0).argmin()]
    for values in of_share.T:
        difference, half = corrected(values - least, share)
        yield f"**{pm(values, 1, share)}**" if difference <= half else pm(values, 1, share)


sizes, names = [int(share * len(split(0)[1])) for share in SHARES], list(rivals)
columns = [list(cells(m, share)) for m, share in zip(measured, SHARES, strict=True)]
demo.table(
    f"Perplexity of held-out text, by the number of tokens to learn from; {len(SEEDS)} splits",
    ["model", *(f"{n:,} tokens" for n in sizes)],
    [[name, *row] for name, *row in zip(names, *columns, strict=True)],
    "Lower is better; a model that knows nothing has the size of the vocabulary. Bold: the best.",
)
ratio = measured[:, :, 3] / measured[:, :, 2]
mixed, shift = measured[-1, :, 4] / measured[-1, :, 2], ratio[0] - ratio[-1]
change, half = corrected(shift, SHARES[0])
trend = "more text favours the network" if change > half else "no clear trend"
demo.say(
    f"The network's perplexity is {pm(ratio[-1], 2)} times that of the smoothed trigram. From {sizes[0]:,} to "
    f"{sizes[-1]:,} tokens this ratio falls by {pm(shift, 2, SHARES[0])}: {trend}. (Bengio et al. (2003) trained on "
    "0.8 and 14 million words, and there the network won.) The mean of the two models' probabilities has "
    f"{pm(mixed, 2)} times the trigram's perplexity: "
    + ("they know different things." if sum(corrected(mixed)) < 1 else "no clear gain over the counts alone.")
)

# %%
fig, ax = plt.subplots(figsize=(9, 3.8))
styles = {"unigram": ":", "bigram": "-.", "trigram": "-", "network": "--", "network + trigram": "-"}
colors = ("0.5", "C2", "black", "C1", "C0")
for (name, style), m, color in zip(styles.items(), measured.T, colors, strict=True):
    mean, half = np.transpose([corrected(v, share) for v, share in zip(m.T, SHARES, strict=True)])
    ax.errorbar(sizes, mean, yerr=half, fmt=style, color=color, capsize=3)
    ax.annotate(name, (sizes[-1], mean[-1]), xytext=(8, 0), textcoords="offset points", va="center", color=color)
ax.set(xscale="log", yscale="log", xlabel="training tokens", ylabel="perplexity of held-out text")
ax.set_xlim(sizes[0] / 1.06, sizes[-1] * 1.35)
ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
ticks = [40, 60, 80, 100, 150, 200]
ax.set_yticks(ticks, ticks)
ax.minorticks_off()
demo.figure(
    fig,
    "perplexity",
    "Perplexity against the amount of training text, with 95% intervals. Lower is better.",
    alt="All curves fall with the amount of text, the unigram's only a little. From all of it, perplexities are "
    + ", ".join(f"{name} {m.mean():.0f}" for name, m in zip(names, measured[-1].T, strict=True))
    + ".",
    main=True,
)


# %% [markdown]
# ## What the remedies change where text is short
#
# The smallest part of the text, networks with and without weight decay. With it the learning rate begins twice as high,
# and falls; without it is constant.

# %%
DECAY = "weight decay, falling rate"
found = {DECAY: with_decay, "neither": []}
for seed in SEEDS:
    words, text, validation, test = split(seed, SHARES[0])
    best, last = network(text, validation, len(words), seed, rate=3e-3, schedule=constant, decay=0)
    held_out = windows(test, CONTEXT + 1)
    found["neither"].append([perplexity(best, held_out), perplexity(last, held_out)])
found = {name: np.array(values) for name, values in found.items()}
demo.table(
    f"Perplexity of networks that learn from {sizes[0]:,} tokens",
    ["network", "to the end", "stopped early", "stopped early / trigram"],
    [
        [name, *(pm(v, 1, SHARES[0]) for v in (last, stopped)), pm(stopped / measured[0, :, 2], 2, SHARES[0])]
        for name, (stopped, last) in ((name, values.T) for name, values in found.items())
    ],
    "The first is the network of the table above.",
)
gain = found[DECAY][:, 0] / found["neither"][:, 0]
stopping = {name: values[:, 0] / values[:, 1] for name, values in found.items()}
demo.say(
    f"Stopping early multiplies the perplexity by {pm(stopping['neither'], 2, SHARES[0])} without weight decay, and by "
    f"{pm(stopping[DECAY], 2, SHARES[0])} with it. Both stopped early, the network with weight decay and twice the "
    f"initial rate, which falls, has {pm(gain, 2, SHARES[0])} times the perplexity of the one with neither."
)


# %% [markdown]
# ## Where each is better
#
# A manual repeats itself word for word. *Familiar* are held-out words that followed the same two words in training.


# %%
def familiar_or_not(seed):
    """Share of held-out words that followed the same two words in training; perplexity of these, and of the others."""
    words, net, trigram, text = models[seed]
    held_out, places = windows(split(seed)[3], CONTEXT + 1), len(words) ** np.arange(3)
    familiar = np.isin(held_out[:, -3:] @ places, windows(text, 3) @ places)
    parts = held_out[familiar], held_out[~familiar]
    return familiar.mean(), *(perplexity(model, part) for part in parts for model in (trigram, net))


share, *four = np.transpose([familiar_or_not(seed) for seed in SEEDS])
groups = list(zip(("familiar", "new"), (share, 1 - share), four[::2], four[1::2], strict=True))
demo.table(
    "Perplexity of familiar words, and of the others",
    ["held-out words", "share", "trigram", "network"],
    [[which, pm(part, 2), pm(counts, 1), pm(neural, 1)] for which, part, counts, neural in groups],
)
if not demo.quick:
    for which, _, counts, neural in groups:
        middle, half = corrected(neural / counts)
        better = "neither is clearly" if abs(middle - 1) <= half else f"the {'network' if middle < 1 else 'trigram'} is"
        demo.say(f"For {which} words {better} better: perplexity of network / trigram {pm(neural / counts, 2)}.")

# %% [markdown]
# ## What the table of words holds
#
# Words that may stand in for one another come to lie near one another. Nearest is what has the greatest cosine, after
# the mean over the words is subtracted.


# %%
def similarities(net, chosen):
    E = net.embedding[chosen] - net.embedding[chosen].mean(axis=0)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    return E @ E.T


words, net, trigram, text = models[0]
frequent = np.arange(1, min(400, len(words)))
near = similarities(net, frequent)
rows = []
for word in ("must", "when", "is", "first", "class", "defined"):
    if 1 <= words.numbers.get(word, 0) < len(frequent):
        order = np.argsort(-near[words.numbers[word] - 1])[1:6]
        rows.append([word, ", ".join(words.decode(frequent[order]))])
demo.table(f"Nearest words, of the {len(frequent)} most frequent", ["word", "nearest first"], rows)


# %% [markdown]
# Five groups of words, written down beforehand. How often is the nearest of all these words one of the same group?

# %%
GROUPS = {
    "modal verbs": "must may can will should cannot might would",
    "forms of be": "is are was be been were",
    "conjunctions": "if when while unless because although",
    "numbers": "one two three zero first second",
    "types": "list tuple dictionary string integer set",
}


def grouped(words):
    """(word numbers, group of each) of those that are in the vocabulary."""
    known = [(words.numbers[w], g) for g, ws in enumerate(GROUPS.values()) for w in ws.split() if w in words.numbers]
    return np.transpose(known)


def nearest_is_alike(net, words):
    chosen, group = grouped(words)
    near = similarities(net, chosen)
    np.fill_diagonal(near, -np.inf)
    return (group[near.argmax(axis=1)] == group).mean()


def untrained(words, seed):
    return minissl.EmbeddingMLP(len(words), CONTEXT, DIMENSION, (HIDDEN,), rng=seed)


alike = [nearest_is_alike(trained, known) for known, trained, *_ in models.values()]
alike_0 = [nearest_is_alike(untrained(known, seed), known) for seed, (known, *_) in models.items()]
demo.say(
    f"For a share of {pm(alike, 2)} of them the nearest word is of the same group; before training, {pm(alike_0, 2)}."
)

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
demo.lesson(
    f"From {sizes[-1]:,} tokens a network learns to predict the next word with {pm(ratio[-1], 2)} times the perplexity "
    f"of a trigram, smoothed counts of three words; the mean of their probabilities has {pm(mixed, 2)} times.",
    f"{ratio[-1].mean():.2f} times the perplexity",
)
demo.finish()
