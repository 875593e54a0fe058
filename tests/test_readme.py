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


def test_the_table_names_files_where_they_are_and_every_module():
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|$", README, re.MULTILINE)[2:]
    assert len(rows) > 10
    for _, *columns in rows:
        for folder, column in zip(("minissl", "demos", "tests"), columns, strict=True):
            for name in re.findall(r"`(.+?)`", column):
                assert (ROOT / folder / name).exists(), f"{folder}/{name}"
    for module in (ROOT / "minissl").glob("[a-z]*.py"):
        assert f"`{module.name}`" in README, module.name
    for path in re.findall(r"\]\((\S+\.png)\)|(?<=`)(demos/\w+\.py)", README):
        assert (ROOT / "".join(path)).exists(), path
