"""The library's derivations as its own files hold them: paragraphs, equations, lines of code, tests and verdicts."""

import ast
import datetime
import functools
import itertools
import json
import re
import textwrap
from typing import NamedTuple

import before

LIBRARY, TESTS, RECORD = before.ROOT / "minissl", before.ROOT / "tests", before.ROOT / "gallery" / "derivations.json"
EQUATION = re.compile(r"^\s+\[([a-z_]+\.\d+)\]\s")
SHORT = 16  # lines; a function up to this length is shown whole


class Row(NamedTuple):
    """A step of a derivation: what leads to some equations, and these."""

    blocks: list  # of (kind, text); kinds: prose, math, symbols, example
    tags: list
    theorems: list  # those of the equations that no code computes


class Excerpt(NamedTuple):
    """The lines of a definition that compute some equations."""

    tags: list
    name: str
    first: int
    last: int
    shown: list
    marked: set


class Module(NamedTuple):
    name: str
    place: str
    source: str
    rows: list
    changed: float


@functools.cache
def modules():
    """{name: module} of the library."""
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        rows = derivation(ast.get_docstring(ast.parse(source), clean=False) or "")
        place = path.relative_to(before.ROOT).as_posix()
        found[path.stem] = Module(path.stem, place, source, rows, path.stat().st_mtime)
    return found


def blocks(docstring):
    """(kind, text) of each paragraph, by its indentation."""
    for chunk in re.split(r"\n\s*\n", docstring.strip("\n")):
        if ">>> " in chunk:
            yield "example", textwrap.dedent(chunk)
            continue
        for indented, lines in itertools.groupby(chunk.split("\n"), key=lambda line: line.startswith("    ")):
            text = "\n".join(lines)
            kind = "prose" if not indented else "symbols" if re.match(r"\s+symbol\s", text) else "math"
            yield kind, textwrap.dedent(text)


def derivation(docstring):
    """The rows of a docstring: each ends with its equations; the first is the introduction, the last what follows."""
    rows, current = [], []
    for kind, text in blocks(docstring):
        current.append((kind, text))
        tags = [match[1] for line in text.split("\n") if (match := EQUATION.match("    " + line))]
        if tags and kind == "math":
            parts = re.split(r"\n(?=\[[a-z_]+\.\d+\]\s)", "\n" + text)
            theorems = [
                tag for tag in tags for part in parts if part.strip().startswith(f"[{tag}]") and "(theorem" in part
            ]
            rows.append(Row(current, tags, theorems))
            current = []
        elif kind == "symbols" and not rows:
            rows.append(Row(current, [], []))
            current = []
    return [*rows, Row(current, [], [])] if current else rows


@functools.cache
def parsed(source):
    """The definitions and the simple statements of a source, and the lines of its docstrings."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    definitions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    statements = [node for node in nodes if not hasattr(node, "body")]
    texts = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return definitions, statements, {line for node in texts for line in range(node.lineno, node.end_lineno + 1)}


def excerpts(module, tags):
    """Where a module computes equations: an excerpt for each definition, with the statements that bear a tag."""
    definitions, statements, prose = parsed(module.source)
    title = statements[0].end_lineno  # of the module's docstring
    lines = module.source.split("\n")
    found = {}
    for tag in tags:
        every = [
            i for i, line in enumerate(lines, 1) if i > title and re.search(rf"\[[^\]]*\b{re.escape(tag)}\b", line)
        ]
        for i in [i for i in every if i not in prose] or every[:1]:
            inside = [node for node in definitions if node.lineno <= i <= node.end_lineno]
            there = [node for node in statements if node.lineno <= i <= node.end_lineno]
            after = sorted((node for node in statements if node.lineno > i), key=lambda node: node.lineno)
            owner = min(inside or there or after[:1], key=lambda node: node.end_lineno - node.lineno)
            statement = min(there or after[:1], key=lambda node: node.end_lineno - node.lineno)
            known = found.setdefault(owner.lineno, (owner, inside, set(), set(), []))
            known[2].add(i)
            if i not in prose:
                known[3].update(range(min(statement.lineno, i) - 1, statement.end_lineno + 2))
            known[4].append(tag)
    return [excerpt(*known, prose) for _, known in sorted(found.items())]


def excerpt(owner, inside, marked, near, tags, prose):
    first = min([owner.lineno, *(node.lineno for node in getattr(owner, "decorator_list", []))])
    code = [i for i in range(first, owner.end_lineno + 1) if i not in prose or i in marked]
    head = range(first, owner.body[0].lineno if hasattr(owner, "body") else owner.end_lineno + 1)
    shown = code if len(code) <= SHORT else [i for i in code if i in near | marked or i in head]
    path = sorted((node for node in inside), key=lambda node: node.lineno)
    name = ".".join(node.name for node in path) if hasattr(owner, "body") else ""
    return Excerpt(list(dict.fromkeys(tags)), name, first, owner.end_lineno, shown, marked & set(shown))


@functools.cache
def tests():
    """{equation: {test: its sentence}} of all tests."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            marks = [mark for mark in getattr(node, "decorator_list", []) if "mark.equation" in ast.unparse(mark)]
            for tag in (argument.value for mark in marks for argument in mark.args):
                name = f"{path.relative_to(before.ROOT).as_posix()}::{node.name}"
                found.setdefault(tag, {})[name] = " ".join((ast.get_docstring(node) or "").split())
    return found


def verdicts():
    """{test: what `pytest -m equation` recorded of it}, with `stale` where its file has changed since."""
    rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name, row in rows.items():
        path = before.ROOT / name.split("::")[0]
        row["when"] = datetime.datetime.fromisoformat(row["date"])
        row["stale"] = path.exists() and path.stat().st_mtime > row["when"].timestamp()
    return rows
