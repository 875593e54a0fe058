"""Every numbered equation has a test that carries its tag and says what it compares; every example runs."""

import ast
import doctest
import importlib
import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).parent
LIBRARY = TESTS.parent / "minissl"
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py")
DEFINED = re.compile(r"^\s+\[([a-z_]+\.\d+)\]\s", re.MULTILINE)
MENTIONED = re.compile(r"\[([a-z_]+\.\d+)\]")


def parts(path):
    """The module's docstring, and its code as text without that docstring."""
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text), clean=False) or ""
    return docstring, text.replace(docstring, "", 1)


def marked():
    """{function: its equations} of all tests."""
    found = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                marks = [ast.unparse(mark) for mark in node.decorator_list if "mark.equation" in ast.unparse(mark)]
                if marks:
                    found[path.name, node.name] = (node, MENTIONED.findall(re.sub(r"'([^']+)'", r"[\1]", str(marks))))
    return found


def test_every_equation_has_a_test_and_every_tag_an_equation():
    source = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    defined = set(DEFINED.findall("\n".join(parts(path)[0] for path in MODULES)))
    verified = {tag for _, tags in marked().values() for tag in tags}
    assert len(defined) >= 96
    assert defined - verified == set(), "equations without a test"
    assert verified - defined == set(), "tests of equations that do not exist"
    assert set(MENTIONED.findall(source)) - defined == set(), "tags that point at no equation"


def test_every_test_of_an_equation_says_in_a_sentence_what_it_compares():
    for (file, name), (node, _) in marked().items():
        sentence = ast.get_docstring(node)
        assert sentence and sentence.rstrip().endswith("."), f"{file}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_equation_is_computed_at_a_line_of_code_or_is_a_theorem(path):
    docstring, code = parts(path)
    for tag in DEFINED.findall(docstring):
        [after] = re.findall(rf"^\s+\[{re.escape(tag)}\]\s(.*?)(?=^\s+\[[a-z_]+\.\d+\]\s|\Z)", docstring, re.M | re.S)
        assert f"[{tag}]" in code or "(theorem" in after.split("\n\n")[0], (
            f"[{tag}] has neither a line of code nor the word theorem"
        )


@pytest.mark.usefixtures("own_seeds")
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_example_of_every_module_runs(path):
    module = importlib.import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or path.stem.startswith("_"), "no example"
