"""The demos' machinery: command line, what a demo shows, the pages, notebooks. `.ci/run` runs the demos themselves."""

import html.parser
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import pytest

if os.name != "nt":
    import browser

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMOS = ROOT / "demos"
PACKAGES = ("matplotlib", "tqdm", "sklearn", "skimage", "jinja2", "markdown_it", "pygments")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the demos' packages are not installed: {MISSING}")


def load(name):
    """A module of demos/ that imports nothing but the standard library."""
    spec = importlib.util.spec_from_file_location(f"demos_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


IDEAS = load("ideas").IDEAS
NAMES = [name for name in IDEAS if (DEMOS / f"{name}.py").exists()]


def python(*arguments, cwd=ROOT, **environment):
    """Run Python in a clean environment; `None` takes a variable out."""
    keep = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "MINISSL_QUICK")}
    keep = {name: value for name, value in (keep | environment).items() if value is not None}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=keep, capture_output=True, text=True, errors="replace", timeout=300)


def one_line(result):
    """The only line of an error, of a program that failed without a traceback."""
    assert result.returncode not in (0, None)
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 1, result.stderr
    return lines[0]


# The command line


@pytest.mark.parametrize(
    "arguments", [["--quik"], ["--qui"], ["pca", "--quik"], ["--f=kernel.json"], ["--fash=x", "pca"]]
)
def test_an_option_that_is_none_runs_nothing(arguments):
    result = python("-m", "demos", *arguments)
    assert result.returncode == 2
    assert "unrecognized arguments" in result.stderr
    assert "===" not in result.stdout


@pytest.mark.parametrize(
    "name", ["data", "__main__", "gallery", "page", "../demos/pca", "demos", "pca.txt", "/pca", "ideas"]
)
def test_what_is_no_demo_is_refused(name):
    result = python("-m", "demos", name)
    assert result.returncode == 2
    assert f"no demo {name!r}" in result.stderr


@pytest.mark.parametrize("text", ["pca", "pca.py", "demos/pca.py", "./demos/pca.py", "demos\\pca.py", "demos/pca"])
def test_what_completion_gives_is_accepted(text):
    sys.path.insert(0, str(DEMOS))
    try:
        assert load("__main__").demo_name(text) == "pca"
    finally:
        sys.path.remove(str(DEMOS))


@pytest.mark.parametrize("level", [[], ["-O"], ["-OO"]])
def test_the_list_is_in_the_lectures_order(level):
    result = python(*level, "-m", "demos", "--list", PYTHONIOENCODING="ascii")
    assert [line.split()[0] for line in result.stdout.splitlines()] == NAMES, result.stderr
    assert NAMES[0] == "tour"


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "sklearn"])
@pytest.mark.parametrize("what", ["demos", DEMOS / "tour.py"])
def test_without_the_extra_one_line_says_what_to_do(package, what):
    without = (
        f"import importlib.util as u, runpy, sys; find = u.find_spec; sys.argv = ['x', '--quick']; "
        f"u.find_spec = lambda name, *more: None if name == {package!r} else find(name, *more); "
        "sys.path.insert(0, '.'); "
    )
    how = (
        "run_module('demos'" if what == "demos" else f"sys.path.insert(0, {str(DEMOS)!r}); runpy.run_path({str(what)!r}"
    )
    how = f"runpy.{how}" if what == "demos" else how
    result = python("-c", f"{without}{how}, run_name='__main__')")
    assert package in one_line(result)
    assert 'pip install -e ".[demos]"' in result.stderr


@pytest.mark.parametrize("command", [["-m", "demos", "tour"], [DEMOS / "tour.py"]])
def test_a_folder_that_cannot_be_written_to(command, tmp_path):
    (tmp_path / "file").touch()
    result = python(*command, "--quick", "--out", tmp_path / "file" / "folder")
    assert "--out" in one_line(result)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to a group of processes")
def test_ctrl_c_leaves_no_traceback_and_what_is_done(tmp_path):
    synthetic(tmp_path, ["pca"])
    before = (tmp_path / "pca.html").read_bytes()
    command = [sys.executable, "-m", "demos", "tour", "--out", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        **pipes,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background have it ignored
    )
    for line in run.stdout:
        if b"epoch" in line:
            break
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert b"Traceback" not in errors and b"interrupted" in errors
    assert (tmp_path / "pca.html").read_bytes() == before


def test_an_exercise_names_equations_that_are_tested():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name, idea in IDEAS.items():
        assert 2 <= len(idea["exercises"]) <= 3 and idea["modules"], name
        for tag in re.findall(r"--equation ([\w.]+)", " ".join(idea["exercises"])):
            assert f'"{tag}"' in tests, tag


# What a demo shows

DEMO = """
import sys

sys.path.insert(0, {path!r})
import before
import numpy as np
from gallery import Demo, plt, pm, progress, tiles

further = {{"--fashion-mnist": {{"metavar": "DIR"}}}}
demo = Demo("small", "Small ± λ ñ", "The lecture says: σ", "x̂ = x", further)

# %% [markdown]
# # Small
# Text with r* and *emphasis*, and p_d.

# %%
fig, ax = plt.subplots(figsize=(20, 3))
ax.plot([0, 1], [0, 1], label="a line")
ax.legend()
ax.set(xlabel="λ", ylabel="loss", title="A plot")
demo.figure(fig, "lines", "A line.")
fig, ax = plt.subplots(figsize=(4, 3))
tiles(ax, np.zeros((4, 8, 8)) + np.arange(4)[:, None, None], 2)
demo.figure(fig, "images", "Images.", alt="Four grey squares")
list(progress(iter([1.0, 0.5]), 2, "training"))
demo.say("A finding.")
demo.table(
    "A table", ["method", "accuracy", "error"],
    [["a", "0.90 ± 0.02", 0.12345], ["b", "0.87 ± 0.02", 0.2], ["c", "0.80 ± 0.01", 0.3]],
    best={{"accuracy": max, "error": min}},
)
demo.lesson("It is so.", 3)
demo.finish()
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.py"
    path.write_text(DEMO.format(path=str(DEMOS)), encoding="utf-8")
    return path


def record(folder):
    return json.loads((folder / "small.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ran(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    result = python(small, "--out", out, MINISSL_PAGES="later")
    assert result.returncode == 0, result.stderr
    return result, record(out), out


def test_the_lesson_is_printed_last_and_bars_are_silent(ran):
    result, _, _ = ran
    assert result.stdout.strip().split("\n")[-2:][0] == "Lesson: It is so."
    assert result.stderr == ""
    assert "**" not in result.stdout


def test_what_was_shown_is_recorded_with_its_place(ran):
    _, found, _ = ran
    assert [item["kind"] for item in found["shown"]] == ["figure", "figure", "text", "table"]
    lines = found["source"].split("\n")
    assert [lines[item["line"] - 1].split("(")[0] for item in found["shown"]] == [
        "demo.figure", "demo.figure", "demo.say", "demo.table",
    ]  # fmt: skip
    assert found["lesson"] == "It is so." and found["number"] == "3" and not found["quick"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", found["run"]["date"])


def test_lines_are_svg_images_png_and_none_is_wider_than_the_page(ran):
    _, found, out = ran
    lines, images = found["shown"][:2]
    svg = (out / lines["file"]).read_text(encoding="utf-8")
    assert lines["file"] == "small_lines.svg" and ">a line</text>" in svg and "λ" in svg and len(svg) < 10_000
    xml.etree.ElementTree.fromstring(svg)
    assert images["file"] == "small_images.png" and (out / images["file"]).read_bytes().startswith(b"\x89PNG")
    assert (lines["width"], lines["height"]) == (864, 288) and (images["width"], images["height"]) == (384, 288)
    assert lines["alt"] == "A plot: loss against λ: shown: a line" and images["alt"] == "Four grey squares"


def test_figures_are_renewed_with_their_record_and_nothing_else_is_touched(small, tmp_path):
    python(small, "--out", tmp_path, MINISSL_PAGES="later")
    (tmp_path / "small_mine.png").touch()
    other = small.parent / "other.py"
    other.write_text(
        small.read_text(encoding="utf-8").replace('"lines", "A line."', '"curve", "A curve."'), encoding="utf-8"
    )
    broken = small.parent / "broken.py"
    broken.write_text(small.read_text(encoding="utf-8").replace("demo.finish()", "1 / 0"), encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert python(broken, "--out", tmp_path, MINISSL_PAGES="later").returncode == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert python(other, "--out", tmp_path, MINISSL_PAGES="later").returncode == 0
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"small.json", "small_curve.svg", "small_images.png", "small_mine.png"}


def test_the_best_is_bold_with_what_is_not_told_apart_from_it(ran):
    _, found, _ = ran
    rows = found["shown"][-1]["cells"][1:]
    assert [row[1] for row in rows] == ["**0.90 ± 0.02**", "**0.87 ± 0.02**", "0.80 ± 0.01"]
    assert [row[2] for row in rows] == ["**0.1235**", "0.2", "0.3"]


def test_intervals_have_two_digits():
    code = "import before, gallery; print(gallery.pm([1, 2, 3]), gallery.pm([.101, .102, .104]), gallery.pm([5, 5, 5]))"
    result = python("-c", code, cwd=DEMOS)
    assert result.stdout.split("\n")[0] == "2.0 ± 2.5 0.1023 ± 0.0038 5.000 ± 0.000", result.stderr


@pytest.mark.parametrize("backend", ["", "TkAgg", "module://matplotlib_inline.backend_inline", "nonsense"])
def test_an_inherited_backend_is_ignored(small, tmp_path, backend):
    result = python(small, "--out", tmp_path, MPLBACKEND=backend, MINISSL_PAGES="later")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "small_lines.svg").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_output_to_any_code_page(small, tmp_path, encoding):
    result = python(small, "--out", tmp_path, PYTHONIOENCODING=encoding, MINISSL_PAGES="later")
    assert result.returncode == 0, result.stderr
    assert record(tmp_path)["title"] == "Small ± λ ñ"


@pytest.mark.parametrize("quick", ["1", "0", ""])
def test_a_quick_run_by_the_environment(small, tmp_path, quick):
    result = python(small, "--out", tmp_path, MINISSL_QUICK=quick, MINISSL_PAGES="later")
    assert record(tmp_path)["quick"] is (quick == "1")
    assert ("no verdict" in result.stdout) is (quick == "1")


def test_a_demo_refuses_what_it_does_not_know(small):
    for option in ("--quik", "--qui", "--f=kernel.json"):
        result = python(small, option)
        assert result.returncode == 2 and "unrecognized arguments" in result.stderr


@pytest.mark.parametrize(("number", "expected"), [(None, 1), ("2", 2)])
def test_one_thread_unless_the_user_says_otherwise(number, expected):
    code = "import before, numpy, threadpoolctl as t; print({p['num_threads'] for p in t.threadpool_info()})"
    if importlib.util.find_spec("threadpoolctl") is None or (os.cpu_count() or 1) < expected:
        pytest.skip("no threads to count")
    result = python("-c", code, cwd=DEMOS, OPENBLAS_NUM_THREADS=number)
    assert result.stdout.strip() == f"{{{expected}}}", result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_demo_sets_one_thread_before_numpy_and_finds_its_modules(name):
    source = (DEMOS / f"{name}.py").read_text(encoding="utf-8")
    imported = re.findall(r"^(?:import|from) (\w+)", source, re.M)
    first = next(module for module in imported if module not in sys.stdlib_module_names)
    assert first in ("before", "data", "gallery"), f"{first} comes first"
    assert re.search(r"^sys\.path \+= ", source, re.M), "a notebook may be started from the repository's root"
    assert "__file__" not in source, "a notebook has none"


# The pages


def synthetic(out, names=NAMES, quick=False, **changes):
    """Records of demos that have not run, and the pages made of them."""
    out.mkdir(exist_ok=True)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="864" height="346"><path d="M0 0L864 346" stroke="red"/></svg>'
    (out / "x.svg").write_text(svg)
    run = {"date": "2025-11-25T12:00:00+01:00", "commit": "abc1234", "versions": "Python 3", "machine": "a machine"}
    small = [["", "accuracy"], ["a <b>", "**0.91 ± 0.02**"], ["b & c", "0.80 ± 0.02"]]
    wide = [
        ["how it was described", *["a column of a name that is long"] * 4],
        ["a row", *["0.12345 ± 0.00067 (8 to 9)"] * 4],
    ]
    large = [["method", *"abcdefg"], *([f"row {i}", *"1234567"] for i in range(9))]
    for name in names:
        source = (DEMOS / f"{name}.py").read_text(encoding="utf-8")
        line = len(source.split("\n"))
        image = {
            "kind": "figure",
            "file": "x.svg",
            "caption": "A <line> & p_d",
            "main": False,
            "width": 864,
            "height": 346,
        }
        shown = [
            image | {"alt": 'A "line" & more'},
            {"kind": "table", "title": "Small & <so>", "cells": small, "note": "r*ⱼ is r*ⱼ."},
            {"kind": "table", "title": "Wide", "cells": wide, "note": ""},
            {"kind": "table", "title": "Large", "cells": large, "note": ""},
            {"kind": "text", "text": "A finding."},
        ]
        content = {
            "name": name,
            "title": "A title <script>alert(1)</script> & more",
            "lecture": "The lecture says *so*, at the length that it usually has: two or three lines of text.",
            "equation": "J = E ‖r(x̃) − x‖²,   with a second equation that stands beside it on the same line,   a = b",
            "lesson": "The lesson of this demo, in a sentence of usual length, with its number: 0.91 ± 0.02, not more.",
            "number": "0.91",
            "limits": "One data set.",
        }
        content |= {"modules": None, "exercises": None, "quick": quick, "source": source, "seconds": 3.0, "run": run}
        content |= {"shown": [item | {"line": line} for item in shown]} | changes
        (out / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    result = python("-c", "import before, page, pathlib, sys; page.write(pathlib.Path(sys.argv[1]))", out, cwd=DEMOS)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return synthetic(tmp_path_factory.mktemp("gallery"))


class Page(html.parser.HTMLParser):
    """What a page is made of; an element that is not closed where it should be is an error."""

    VOID = {"meta", "link", "img", "br", "hr"}

    def __init__(self, path):
        super().__init__()
        self.path, self.open, self.elements, self.text = path, [], [], {}
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"{self.path.name}: {tag} {names}"
        inside = {"li": {"ul", "ol"}, "td": {"tr"}, "th": {"tr"}, "tr": {"thead", "tbody"}, "figcaption": {"figure"}}
        assert tag not in inside or self.open[-1] in inside[tag], f"{self.path.name}: {tag} in {self.open[-1]}"
        blocks = {"p", "div", "pre", "table", "ul", "ol", "details", "figure", "section", "h2", "h3", "h4"}
        assert not (tag in blocks and "p" in self.open), f"{self.path.name}: {tag} in a paragraph"
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{self.path.name}: </{tag}> at {self.getpos()}"

    def handle_data(self, data):
        for tag in set(self.open):
            self.text[tag] = self.text.get(tag, "") + data

    def all(self, tag):
        return [attributes for found, attributes in self.elements if found == tag]

    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def equations():
    """{equation: whether it is a theorem} of the library, read here once more and otherwise than by the pages."""
    found = {}
    for path in (ROOT / "minissl").rglob("*.py"):
        docstring = path.read_text(encoding="utf-8").split('"""')[1]
        for tag, rest in re.findall(
            r"^\s+\[([a-z_]+\.\d+)\]\s((?:.|\n)*?)(?=^\s+\[[a-z_]+\.\d+\]\s|\n\n|\Z)", docstring, re.M
        ):
            found[tag] = "(theorem" in rest
    return found


def test_every_equation_has_its_place_on_one_sheet_with_its_code_or_the_word_theorem_and_a_verdict(gallery):
    text = {name: (gallery / f"{name}.html").read_text(encoding="utf-8") for name in NAMES}
    places = {tag: [name for name in NAMES if f'id="{tag}"' in text[name]] for tag in equations()}
    derived = {module for name in NAMES for module in IDEAS[name]["modules"]}
    for tag, theorem in equations().items():
        if tag.split(".")[0] not in derived and tag.split(".")[0] not in IDEAS:
            assert tag.split(".")[0] in ("clustering", "score_matching", "vae"), f"{tag}: on no sheet"
        assert len(places[tag]) == 1, f"{tag}: {places[tag]}"
        assert tag.split(".")[0] in IDEAS[places[tag][0]]["modules"]
        assert all(tag.split(".")[0] not in IDEAS[name]["modules"] for name in NAMES[: NAMES.index(places[tag][0])])
        steps = re.split(r'<div class="step[^"]*">', text[places[tag][0]])
        [step] = [step for step in steps if f'id="{tag}"' in step]
        assert 'class="code"' in step or theorem, f"{tag}: no code"
        assert (re.search("(is a|are) theorem", step) is not None) >= theorem, tag
        assert re.search(r"<b>(passed|failed|skipped|not run here)</b>", step), f"{tag}: no verdict"


def test_the_pages_are_valid_and_every_link_leads_somewhere(gallery):
    pages = {path.name: Page(path) for path in gallery.glob("*.html")}
    assert len(pages) == len(NAMES) + 1
    for name, page in pages.items():
        ids = page.ids()
        assert len(ids) == len(set(ids)), name
        for link in page.all("a"):
            file, _, anchor = link["href"].partition("#")
            assert "://" not in link["href"], f"{name}: {link}"
            assert not file or (gallery / file).exists(), f"{name}: {link}"
            if anchor:
                assert anchor in pages[file or name].ids(), f"{name}: {link}"
        for image in page.all("img"):
            assert (gallery / image["src"]).exists() and {"alt", "width", "height"} <= set(image), name
        assert all("scope" in cell for cell in page.all("th")), name
        assert {"header", "nav", "main", "footer", "h1"} <= {tag for tag, _ in page.elements}, name
        assert page.all("html") == [{"lang": "en"}] and len(page.all("h1")) == 1
        assert {"class": "skip", "href": "#main"} in page.all("a")
        assert (
            "script" not in {tag for tag, _ in page.elements} and "http" not in page.path.read_text().split("<main")[0]
        )
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), f"{name}: {levels}"


def test_what_demos_write_is_text(gallery):
    page = Page(gallery / "tour.html")
    assert page.text["h1"] == "A title <script>alert(1)</script> & more"
    assert page.text["caption"] == "Small & <so>Wide" and page.all("img")[0]["alt"] == 'A "line" & more'
    assert "A <line> & pd" in page.text["figcaption"] and "r*ⱼ is r*ⱼ." in page.text["p"]
    assert page.text["blockquote"].strip().startswith("The lecture says so")
    assert "0.91 ± 0.02" in page.text["strong"]


def test_a_sheet_has_its_parts_in_order(gallery):
    text = (gallery / "tour.html").read_text(encoding="utf-8")
    parts = ["The lecture says", ">Lesson<", "<figure>", "Derivation, code", "Measured", "What this does not", "Try it"]
    places = [text.index(part) for part in parts[:3]] + [
        text.index(f"{part}", text.index("</nav>\n<section")) for part in parts[3:]
    ]
    assert places == sorted(places)
    assert text.count('<details class="table">') == 1, "a large table is folded, a small one is not"
    assert text.count('class="cell"') >= 2 and "There are 1,797 handwritten digits" in text


def test_what_was_shown_stands_behind_its_cell(tmp_path):
    source = (DEMOS / "tour.py").read_text(encoding="utf-8")
    text = {"kind": "text", "text": "Here."}
    second = "digits that the network has not"
    for part, before, after in (
        ("EPOCHS, SPLITS", "There are 1,797", second),
        ("hidden, truth", second, "Try it</h2>"),
    ):
        line = source[: source.index(part)].count("\n") + 1
        synthetic(tmp_path, ["tour"], shown=[text | {"line": line}])
        page = (tmp_path / "tour.html").read_text(encoding="utf-8")
        assert page.index(before) < page.index(">Here.<") < page.index(after, page.index("<main"))


def test_the_index_is_in_the_lectures_order(gallery):
    page = Page(gallery / "index.html")
    assert [link["href"] for link in page.all("a") if link["href"].endswith(".html")][: len(NAMES)] == [
        f"{name}.html" for name in NAMES
    ]
    assert "0.91" in page.text["li"] and "goal" in page.text["main"] and "python -m demos --quick" in page.text["code"]


def test_a_quick_run_says_so_and_makes_no_verdicts(tmp_path):
    synthetic(tmp_path, ["pca"], quick=True)
    sheet, index = ((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("pca", "index"))
    assert "no verdict" in sheet and "no verdict" in index
    for text in (sheet, index):
        assert "The lesson of this demo" not in text and "A finding." not in text


def test_a_run_of_one_leaves_the_others(tmp_path):
    two = [name for name in NAMES if name in ("tour", "time_series")]
    synthetic(tmp_path, two)
    other = (tmp_path / "tour.html").read_bytes()
    synthetic(tmp_path, ["time_series"], lesson="Something else.")
    assert (tmp_path / "tour.html").read_bytes() == other
    assert "Something else." in (tmp_path / "time_series.html").read_text(encoding="utf-8")
    assert "Something else." in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_demo_without_figures_and_with_modules_that_are_not_there(tmp_path):
    synthetic(tmp_path, ["tour"], shown=[], modules=["losses", "no_such"], exercises=["One."], limits="", lesson="")
    page = Page(tmp_path / "tour.html")
    assert "losses.3" in page.ids() and "mlp.1" not in page.ids() and "One." in page.text["ol"]


def test_the_pages_are_light(gallery):
    for path in gallery.glob("*.html"):
        assert path.stat().st_size + (gallery / "style.css").stat().st_size < 200_000, path.name


def test_the_generator_is_short():
    files = [DEMOS / name for name in ("page.py", "derivation.py")]
    assert sum(len(path.read_text(encoding="utf-8").split("\n")) for path in files) < 500


# In a browser

needs_browser = pytest.mark.skipif(os.name == "nt" or browser.PROGRAM is None, reason="no Chromium is installed")
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colour = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
                           return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                                        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => { for (; element; element = element.parentElement) {
      const found = colour(getComputedStyle(element).backgroundColor); if (found[3] == 255) return found; }
    return [255, 255, 255, 255]; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = {};
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim()) continue;
    const a = light(colour(getComputedStyle(element).color)), b = light(ground(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad[element.tagName + '.' + element.className] = ratio; }
  return bad; })()"""
BROKEN = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
LOST = """[...document.querySelectorAll('a[href*="#"]')].map(link => new URL(link.href))
  .filter(url => url.pathname == location.pathname && !document.getElementById(url.hash.slice(1))).map(String)"""
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = """[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() &&
  e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline')
  .map(e => e.tagName + ' ' + e.className)"""


@pytest.fixture(scope="module")
def tab():
    with browser.Browser() as opened:
        yield opened


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(390, 844), (1400, 900)])
def test_in_a_browser_nothing_is_broken_lost_too_wide_or_too_faint(gallery, tab, size, dark):
    for path in sorted(gallery.glob("*.html")):
        tab.open(path, *size, dark=dark)
        assert tab.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark
        tab.run("document.querySelectorAll('details').forEach(details => details.open = true)")
        assert tab.run(BROKEN) == [] and tab.run(LOST) == [], path.name
        assert tab.run(WIDE) <= 0, f"{path.name}: scrolls sideways"
        assert tab.run(CONTRAST) == {}, path.name


@needs_browser
@pytest.mark.parametrize("name", NAMES)
def test_lesson_and_figure_are_seen_without_scrolling(gallery, tab, name):
    tab.open(gallery / f"{name}.html", 1400, 900)
    for what in (".lesson", ".top img"):
        assert tab.run(f"document.querySelector('{what}').getBoundingClientRect().bottom") <= 900, what


@needs_browser
@pytest.mark.parametrize("name", ["index", *NAMES])
def test_on_paper_nothing_is_cut(gallery, tab, name):
    tab.open(gallery / f"{name}.html", 700, 1000, media="print")  # A4 without its margins
    assert tab.run(WIDE) <= 0 and tab.run(CUT) == []
    assert tab.pdf().startswith(b"%PDF")


# Notebooks

NOTEBOOKS = [
    name for name in ("jupytext", "nbclient", "nbformat", "ipykernel") if importlib.util.find_spec(name) is None
]
needs_notebooks = pytest.mark.skipif(bool(NOTEBOOKS), reason=f"not installed: {NOTEBOOKS}")


@needs_notebooks
def test_demos_as_notebooks_show_their_figures_and_write_nothing_else(tmp_path):
    result = python("-m", "demos", "tour", "--quick", "--notebooks", tmp_path, MPLBACKEND="TkAgg")
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tour.ipynb"]
    cells = json.loads((tmp_path / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "epoch   1" in printed and "Lesson (of a quick run: no verdict)" in printed


@needs_notebooks
@pytest.mark.parametrize("start", [".", "demos"])
def test_a_notebook_starts_from_the_root_or_from_the_demos(start):
    code = (DEMOS / "tour.py").read_text(encoding="utf-8").split("EPOCHS, SPLITS")[0]
    program = (
        "import nbformat, nbclient, sys\n"
        "notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.argv[1])])\n"
        "nbclient.NotebookClient(notebook, resources={'metadata': {'path': sys.argv[2]}}).execute()\n"
        "print(notebook.cells[0].outputs)"
    )
    result = python("-c", program, f"{code}\nprint('quick', demo.quick)", ROOT / start, MINISSL_QUICK="1")
    assert "quick True" in result.stdout, result.stderr


def test_the_time_of_a_list_is_short():
    began = time.monotonic()
    python("-m", "demos", "--list")
    assert time.monotonic() - began < 20
