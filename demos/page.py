"""The gallery: an index and a sheet for each idea, as static files, from the records that demos and tests have left."""

import collections
import datetime
import functools
import itertools
import json
import re
import shutil

import before
import derivation
from ideas import IDEAS
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments.lexers import PythonConsoleLexer, PythonLexer
from pygments.token import Comment, Generic, Keyword, String

HERE = before.ROOT / "demos"
KINDS = {Comment: "i", Keyword: "b", String: "u", Generic.Prompt: "i"}  # of what has a colour in code: its element
MENTION = re.compile(r"\[([a-z_]+\.\d+)\]")
SUBSCRIPT = re.compile(
    r"(?<![^\W\d¹])([A-Za-zα-ωΑ-Ω∫ẑŶĀ][\u0302\u0303]?[ᵢ′]?)_"
    r"(?:\{([^}]+)\}|([A-Za-zα-ωŷ∞]{1,5}[₀-₉ᵢⱼₖ]*′?))(?![^\Wᵀ²])"
)
POWER, RAISED = re.compile(r"(\d)e\+?(-?)0*(\d+)\b"), str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CODE_OR_ITEM = r"`[^`]+`|^ {4}.*$|^\s*\* "
EMPHASIS = re.compile(rf"({CODE_OR_ITEM}|\*\*(?=\S)[^*]+\*\*|(?<![\w)\]*])\*(?=[\w(`])[^*]+\*(?!\*))", re.MULTILINE)
LARGE = (6, 5)  # rows and columns; tables that have more are folded


class Text:
    """Markdown and equations as HTML, with a link at each mention of an equation."""

    def __init__(self, places):
        self.places = places  # {equation: the sheet that derives it}
        self.here = ""
        self.markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self.markdown.add_render_rule("text", lambda renderer, tokens, i, options, env: self.inline(tokens[i].content))

    def inline(self, text):
        text = POWER.sub(lambda m: f"{m[1]} × 10{(m[2] + m[3]).translate(RAISED)}", text)
        text = re.sub(r"(?<![\w)\]-])-(?=\d)", "−", text)
        text = SUBSCRIPT.sub(lambda m: f"{m[1]}<sub>{m[2] or m[3]}</sub>", str(escape(text)))
        return MENTION.sub(lambda m: self.link(m[1]), text)

    def link(self, tag):
        sheet = self.places.get(tag)
        return f'<a href="{"" if sheet == self.here else f"{sheet}.html"}#{tag}">[{tag}]</a>' if sheet else f"[{tag}]"

    def block(self, text, down=1):
        """Paragraphs; a heading of one # stands at the level of h1 and is moved `down`."""
        tokens = self.markdown.parse(stars(text))
        for token in tokens:
            if token.type in ("heading_open", "heading_close"):
                token.tag = f"h{min(6, int(token.tag[1]) + down)}"
            if token.type == "th_open":
                token.attrSet("scope", "col")
        return Markup(self.markdown.renderer.render(tokens, self.markdown.options, {}))

    def line(self, text):
        return Markup(self.markdown.renderInline(stars(str(text))))

    def paragraphs(self, blocks):
        """The blocks of a docstring."""
        for kind, text in blocks:
            if kind == "symbols":
                yield self.symbols(text)
            elif kind == "example":
                lines = "\n".join(highlighted(text, PythonConsoleLexer))
                yield Markup(f'<pre class="code">{lines.rstrip()}</pre>')
            elif kind == "prose":
                is_list = re.match(r"([*-]|1\.) ", text)
                yield self.block(text if is_list else " ".join(text.split("\n")), down=3)
            else:
                yield Markup("".join(self.equations(text)))

    def symbols(self, text):
        """The table of symbols of a docstring: what follows two spaces belongs to the column that it stands in."""
        head, *lines = text.split("\n")
        starts = {match.start(): match[0] for match in re.finditer(r"\S+(?: \S+)*", head)}
        rows = []
        for line in lines:
            cells = dict.fromkeys(starts, "")
            for start in reversed(starts):  # where the column before is full, one space is left
                line = f"{line[:start]} {line[start:]}" if line[start - 1 : start] == " " else line
            for match in re.finditer(r"\S+(?: \S+)*", line):
                column = max(start for start in starts if start <= match.start() + 2)
                cells[column] = f"{cells[column]} {match[0]}".strip()
            rows.append(
                [escape(cell) if i == 1 else Markup(self.inline(cell)) for i, cell in enumerate(cells.values())]
            )
        return TEMPLATES.get_template("parts.html").module.symbols(list(starts.values()), rows)

    def equations(self, text):
        """Displayed mathematics: a tagged line, and what continues it, is an equation, whose parts may wrap."""
        plain, *tagged = re.split(r"^(?=\[[a-z_]+\.\d+\]\s)", text, flags=re.MULTILINE)
        if plain.strip():
            lines = [f'<span style="--h:{hang(line)}ch">{escape(line)}</span>' for line in plain.rstrip().split("\n")]
            yield '<pre class="math">{}</pre>'.format("\n".join(lines))
        for equation in tagged:
            tag, rest = equation[1:].split("]", 1)
            yield f'<div class="equation" id="{tag}"><a class="tag" href="#{tag}">[{tag}]</a>{self.parts(rest)}</div>'

    def parts(self, text):
        """Lines of mathematics, each in the parts that wide spaces tell apart."""
        lines = [re.split(r"\s{2,}", line.strip()) for line in text.strip("\n").split("\n")]
        spans = [" ".join(f"<span>{self.inline(part)}</span>" for part in line) for line in lines]
        return Markup(f"<div>{''.join(f'<div>{line}</div>' for line in spans)}</div>")


def hang(line):
    """Where a line goes on that is too long: under its last column, if there is room, or else a little further in."""
    columns = [match.end() for match in re.finditer(r"\S\s{2,}", line) if match.end() <= 46]
    return columns[-1] if columns else len(line) - len(line.lstrip()) + 4


def stars(text):
    """Markdown in which r* is r*: a star that neither emphasises nor begins an item is kept as it is."""
    parts = EMPHASIS.split(text)
    return "".join(part if i % 2 else part.replace("*", r"\*") for i, part in enumerate(parts))


@functools.cache
def highlighted(source, lexer=PythonLexer):
    """The lines of a source, as HTML."""
    out = []
    for kind, text in lexer(stripnl=False).get_tokens(source):
        element = next((element for group, element in KINDS.items() if kind in group and text.strip()), None)
        parts = [escape(part) for part in text.split("\n")]
        out.append("\n".join(f"<{element}>{part}</{element}>" if element and part else part for part in parts))
    return "".join(out).split("\n")


def code(source, numbers, marked=frozenset(), indent=0):
    """Lines of a source, without what they are indented together."""
    lines = {i: re.sub(rf"^(<u>)?\s{{{indent}}}", r"\1", highlighted(source)[i - 1]) for i in numbers}
    for i in marked & lines.keys():  # a line that is too long goes on below, with the tag beside its #
        lines[i] = "<mark>{}</mark>".format(lines[i].replace("# [", "#\xa0["))
    return Markup("\n".join(lines.values()))


def pieces(source, excerpt):
    """The lines of a definition, as pieces (how many are folded, 0 if they are shown; the lines)."""
    head = source.split("\n")[excerpt.first - 1]
    for shown, numbers in itertools.groupby(range(excerpt.first, excerpt.last + 1), excerpt.shown.__contains__):
        numbers = list(numbers)
        lines = code(source, numbers, excerpt.marked, len(head) - len(head.lstrip()))
        yield 0 if shown or len(numbers) < 3 else len(numbers), lines


def cells(source):
    """(kind, first line, text) of the cells of a script in the percent format; what stands before the first is none."""
    lines = source.split("\n")
    starts = [i for i, line in enumerate(lines) if line.startswith("# %%")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        body = lines[start + 1 : end]
        if "[markdown]" in lines[start]:
            yield "text", start + 1, "\n".join(line.removeprefix("#").removeprefix(" ") for line in body)
        else:
            yield "code", start + 1, "\n".join(body).strip("\n")


def measured(record):
    """The demo's cells in their order; behind each cell of code what it showed."""
    found = [list(cell) for cell in cells(record["source"])] or [["code", 0, ""]]
    shown = [item for item in record["shown"] if not (record["quick"] and item["kind"] == "text")]
    out = []
    for i, (kind, first, text) in enumerate(found):
        if kind == "text":
            out.append({"kind": "markdown", "text": re.sub(r"\A\s*# .*\n", "", text)})
            continue
        end = found[i + 1][1] if i + 1 < len(found) else float("inf")
        if text and not re.fullmatch(r"demo\.finish\(\)", text):
            out.append({"kind": "code", "text": text, "length": text.count("\n") + 1})
        out += [item for item in shown if first <= item["line"] < end]
    return out


def sheet(name, record, places, text, verdicts):
    """What the template of a sheet shows."""
    text.here = name
    derived, elsewhere = [], []
    for module in (derivation.modules().get(key) for key in modules_of(name, record)):
        if module is None:
            continue
        tags = [tag for row in module.rows for tag in row.tags]
        if tags and places[tags[0]] != name:
            elsewhere.append({"name": module.name, "sheet": places[tags[0]], "tag": tags[0]})
        else:
            derived.append({"module": module, "rows": [step(module, row, text, verdicts) for row in module.rows]})
    ran = {test["name"]: test for part in derived for row in part["rows"] for test in row["tests"] if test["verdict"]}
    exercises = record["exercises"] or IDEAS[name]["exercises"]
    words = {
        sign: any(sign in cell for item in record["shown"] for row in item.get("cells", ()) for cell in row)
        for sign in ("±", "**")
    }
    return {
        "words": words,
        "last": max((test["verdict"]["when"] for test in ran.values()), default=None),
        "ran": len(ran),
        "passed": sum(test["outcome"] == "passed" for test in ran.values()),
        "main": sheet_picture(record),
        "derived": derived,
        "elsewhere": elsewhere,
        "cells": measured(record),
        "exercises": exercises,
    }


def step(module, row, text, verdicts):
    """A row of a derivation: its paragraphs, its code and its tests."""
    found = {}
    for tag in row.tags:
        for test, sentence in derivation.tests().get(tag, {}).items():
            found.setdefault(test, {"name": test, "sentence": sentence, "tags": [], "verdict": verdicts.get(test)})
            found[test]["tags"].append(tag)
    for test in found.values():
        verdict = test["verdict"]
        test["outcome"] = verdict["outcome"] if verdict else "not run here"
        test["stale"] = bool(verdict) and (verdict["stale"] or module.changed > verdict["when"].timestamp())
    more = collections.Counter(test["outcome"] for test in list(found.values())[2:])
    computed = [tag for tag in row.tags if tag not in row.theorems]
    return {
        "blocks": list(text.paragraphs(row.blocks)),
        "excerpts": derivation.excerpts(module, computed) if computed else [],
        "theorems": row.theorems,
        "tests": list(found.values()),
        "outcome": ", ".join(f"{number} {outcome}" for outcome, number in more.items()),
        "tags": row.tags,
    }


def modules_of(name, record):
    return IDEAS[name]["modules"] if record["modules"] is None else record["modules"]


def records(out):
    """{demo: its record} of those that have run, in the lecture's order."""
    found = {}
    for name in IDEAS:
        if (out / f"{name}.json").exists():
            record = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
            record["when"] = datetime.datetime.fromisoformat(record["run"]["date"])
            found[name] = record
    return found


def from_readme(text, heading, known):
    """The tables of a section of the README, with a link at each demo that has run."""
    readme = before.ROOT / "README.md"
    source = readme.read_text(encoding="utf-8") if readme.exists() else ""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", source, re.M | re.S)
    if not section:
        return ""
    plain = re.sub(r"\[([^\]]+)\]\((?!http)[^)]+\)", r"\1", section[1])  # links to files that are not in the gallery
    html = text.block(plain)
    link = lambda m: f'<a href="{m[1]}.html">{m[1]}</a>' if m[1] in known else m[1]  # noqa: E731
    return Markup(re.sub(r"<code>(\w+)\.py</code>", lambda m: link(m) if m[1] in IDEAS else m[0], html))


def is_large(table):
    return len(table) - 1 > LARGE[0] or len(table[0]) > LARGE[1]


def numeric(table):
    """For each column whether it holds numbers."""
    number = re.compile(r"[+−-]?[\d.,]+.*|nan|–|")
    return [all(number.fullmatch(cell.replace("*", "").strip()) for cell in column[1:]) for column in zip(*table)]  # noqa: B905


def write(out):
    """Write the gallery into a folder: every sheet whose record is there, and the index."""
    known, verdicts = records(out), derivation.verdicts()
    places = {}
    for name, record in known.items():
        for module in (derivation.modules().get(key) for key in modules_of(name, record)):
            for row in module.rows if module else ():
                places |= {tag: places.get(tag, name) for tag in row.tags}
    text = Text(places)
    names = list(known)
    TEMPLATES.globals |= {
        "text": text,
        "ideas": IDEAS,
        "code": code,
        "pieces": pieces,
        "is_large": is_large,
        "numeric": numeric,
    }
    for i, (name, record) in enumerate(known.items()):
        around = {"previous": names[i - 1] if i else None, "next": names[i + 1] if i + 1 < len(names) else None}
        page = {"record": record, "known": known} | around | sheet(name, record, places, text, verdicts)
        (out / f"{name}.html").write_text(TEMPLATES.get_template("sheet.html").render(page), encoding="utf-8")
    text.here = "index"
    cards = [
        {"name": name, "record": known.get(name), **IDEAS[name]} for name in IDEAS if (HERE / f"{name}.py").exists()
    ]
    for card in cards:
        card["main"] = sheet_picture(card["record"])
    page = {"cards": cards, "summary": summary(verdicts)}
    page["tables"] = from_readme(text, "From the lecture to the code", known)
    page["words"] = from_readme(text, "A dozen words", known)
    page["runs"] = sorted({(r["run"]["versions"], r["run"]["machine"]) for r in known.values()})
    (out / "index.html").write_text(TEMPLATES.get_template("index.html").render(page), encoding="utf-8")
    shutil.copy(HERE / "templates" / "style.css", out)


def sheet_picture(record):
    figures = [item for item in record["shown"] if item["kind"] == "figure"] if record else []
    return next((item for item in figures if item["main"]), figures[0] if figures else None)


def summary(verdicts):
    """How many equations there are, how many tests, and what came of them when."""
    tags = [tag for module in derivation.modules().values() for row in module.rows for tag in row.tags]
    known = {test for tag in tags for test in derivation.tests().get(tag, {})}
    ran = [verdicts[test] for test in known if test in verdicts]
    passed = sum(row["outcome"] == "passed" for row in ran)
    last = max((row["when"] for row in ran), default=None)
    changed = max(module.changed for module in derivation.modules().values())
    stale = bool(ran) and (changed > last.timestamp() or any(row["stale"] for row in ran))
    return {
        "stale": stale,
        "equations": len(tags),
        "tests": len(known),
        "ran": len(ran),
        "passed": passed,
        "last": last,
    }


TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["day"] = lambda when: f"{when.day} {when:%B %Y, %H:%M}"
