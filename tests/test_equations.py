"""Every numbered equation in minissl/ is verified by a test that carries its tag."""

import pathlib
import re

TESTS = pathlib.Path(__file__).parent
DEFINED = re.compile(r"^\s+\[([a-z]+\.\d+)\]\s", re.MULTILINE)
MENTIONED = re.compile(r"\[([a-z]+\.\d+)\]")
VERIFIED = re.compile(r"equation\(([^)]*)\)")


def _text(folder):
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.py")))


def test_every_equation_has_a_test_and_every_tag_an_equation():
    source = _text(TESTS.parent / "minissl")
    defined = set(DEFINED.findall(source))
    verified = {tag for marks in VERIFIED.findall(_text(TESTS)) for tag in re.findall(r"[a-z]+\.\d+", marks)}
    assert defined, "no equations found"
    assert defined - verified == set(), "equations without a test"
    assert verified - defined == set(), "tests of equations that do not exist"
    assert set(MENTIONED.findall(source)) - defined == set(), "tags that point at no equation"
