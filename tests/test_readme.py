"""The README's first code prints what the README says it prints, and its table names files that exist."""

import contextlib
import io
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_code_prints_what_it_says():
    code, output = re.search(r"```python\n(.*?)```\s+```\n(.*?)```", README, re.DOTALL).groups()
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == output


def test_every_file_it_names_exists_and_every_module_is_named():
    named = set(re.findall(r"`([\w/]+\.(?:py|png|toml))`|\]\((\S+\.png)\)", README))
    files = {a or b for a, b in named}
    missing = [f for f in files if not any((ROOT / d / f).exists() for d in ("", "minissl", "demos", "tests"))]
    assert missing == []
    for module in (ROOT / "minissl").glob("[a-z]*.py"):
        assert f"`{module.name}`" in README, module.name
