"""The house: what may import what, what is public, and that it can be built and installed somewhere else."""

import ast
import importlib
import pathlib
import pkgutil
import re
import sys

import pytest

import minissl

LIBRARY = pathlib.Path(minissl.__file__).parent
MODULES = sorted(path for path in LIBRARY.rglob("*.py"))
BELOW = {  # room: the rooms it may import from, besides itself
    "nn": set(),
    "tasks": {"nn"},
    "linear": {"nn"},
    "goals": {"nn", "tasks", "linear"},
}


def imports(path):
    """The modules that a file imports, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_go_down_only(path):
    room, *rest = path.relative_to(LIBRARY).parts
    for name in imports(path):
        top, *below = name.split(".")
        assert top in {"minissl", "numpy", "scipy"} | set(sys.stdlib_module_names), name
        if top == "minissl" and rest:
            assert below[0] in {room, "_arrays", "_checks"} | BELOW[room], name
            assert room != "tasks" or below[0] != "nn" or below[1] == "losses", f"a task needs no network: {name}"
        if top == "minissl" and room in ("_arrays.py", "_checks.py"):
            raise AssertionError(f"{room} is the ground floor: {name}")


def test_file_names_are_unique_for_they_are_the_names_of_equations():
    names = [path.stem for path in MODULES if path.stem != "__init__"]
    assert len(names) == len(set(names))


def test_every_module_imports_and_the_public_names_are_those_of_all():
    for module in pkgutil.walk_packages(minissl.__path__, "minissl."):
        importlib.import_module(module.name)
    for name in minissl.__all__:
        assert hasattr(minissl, name), name
    public = {name for name in vars(minissl) if not name.startswith("_")}
    rooms = {"nn", "tasks", "linear", "goals"}
    assert public - rooms == set(minissl.__all__) - rooms
    assert len(minissl.__all__) == len(set(minissl.__all__))
    assert re.fullmatch(r"\d+\.\d+\.\d+", minissl.__version__)


def test_the_packages_are_found_not_listed():
    """What setuptools would put into a wheel: every folder of the library."""
    setuptools = pytest.importorskip("setuptools")
    found = set(setuptools.find_packages(LIBRARY.parent, include=["minissl*"]))
    assert found == {"minissl", *(f"minissl.{room}" for room in BELOW)}


def test_the_map_names_every_module():
    text = (LIBRARY / "README.md").read_text(encoding="utf-8")
    for path in MODULES:
        if path.stem != "__init__":
            assert f"({path.relative_to(LIBRARY).as_posix()})" in text, path
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (LIBRARY / link).exists(), link


def test_the_code_says_np_everywhere():
    """No second name for the array library, no buffers handed around: what CuPy needs is in `_arrays` alone."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bxp\b|\bnamespace\b|\bWorkspace\b", text), path
        assert "cupy" not in "".join(imports(path)), path
