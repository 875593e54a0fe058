"""The README's code runs and prints what the README says, and its tables name files that exist."""

import contextlib
import io
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("own_seeds")
def test_the_code_runs_and_the_first_program_prints_what_it_says():
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    [output] = re.findall(r"```python\n.*?```\s+```\n(.*?)```", README, re.DOTALL)[:1]
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        for block in code:
            exec(block, names)
    assert len(code) == 2
    assert printed.getvalue() == output
    assert names["features"].shape == (100, 100)


def test_the_tables_name_files_where_they_are():
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|$", README, re.MULTILINE)
    files = [row[1:] for row in rows if ".py" in row[1]]
    assert len(files) > 15
    for columns in files:
        for folder, column in zip(("minissl", "demos", "tests"), columns, strict=True):
            for name in re.findall(r"`(.+?)`", column):
                assert (ROOT / folder / name).exists(), f"{folder}/{name}"
    for path in re.findall(r"\]\(([^)#]+)\)|(?<=`)(demos/\w+\.py)", README):
        assert (ROOT / "".join(path)).exists(), path


def test_the_commands_name_extras_and_options_that_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r'-e "\.\[(\w+)\]"', README):
        assert f"\n{extra} = [" in project
    for option in ("--equation", "-m equation"):
        assert option in README
