"""How the tests run: the same cases every time, without deadlines, on one thread; and the derivations as a command.

    pytest -m equation                    the derivations alone: every test of a numbered equation, with its sentence
    pytest --equation mlp.3               the tests of one equation
    pytest --hypothesis-seed=N --other-seeds=N   other cases, and other random numbers in every test: no seed may be one
                                          that happens to work

The first two also write a record, `gallery/derivations.json`, from which the demos' page shows its verdicts.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is there: for matrices this small threads only wait

import datetime  # noqa: E402
import inspect  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("minissl", deadline=None, max_examples=40, derandomize=True, print_blob=True)
settings.register_profile("other cases", settings.get_profile("minissl"), derandomize=False)

derivations = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption("--other-seeds", type=int, metavar="N", help="give default_rng(seed) the numbers of (seed, N)")
    parser.addoption("--equation", metavar="TAG", help="run the tests of one equation, such as mlp.3")


default_rng = np.random.default_rng


@pytest.fixture
def own_seeds(monkeypatch):
    """For examples whose output is written beside them: it is that of their own seeds."""
    monkeypatch.setattr(np.random, "default_rng", default_rng)


def pytest_configure(config):
    settings.load_profile("minissl" if config.getoption("--hypothesis-seed") is None else "other cases")
    N = config.getoption("--other-seeds")
    if N is not None:

        def other(seed=None):
            return default_rng((seed, N) if isinstance(seed, (int, np.integer)) else seed)

        np.random.default_rng = other
    if config.getoption("--equation") or config.getoption("-m") == "equation":
        config.stash[derivations] = {}


def tags(item):
    """The equations that a test verifies."""
    return [tag for mark in item.iter_markers("equation") for tag in mark.args]


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--equation")
    if wanted:
        kept = [item for item in items if wanted in tags(item)]
        if not kept:
            raise pytest.UsageError(f"--equation: no test of [{wanted}]")
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    known = item.config.stash.get(derivations, None)
    if known is not None and call.when == "call" and tags(item):
        name = item.nodeid.split("[")[0]
        blank = {"tags": tags(item), "outcome": "passed", "seconds": 0.0, "cases": 0}
        row = known.setdefault(name, blank | {"sentence": " ".join(inspect.getdoc(item.function).split())})
        row["seconds"] += call.duration
        row["cases"] += getattr(item, "examples", 1)
        if report.outcome != "passed":
            row["outcome"] = report.outcome
    return report


def pytest_runtest_setup(item):
    """Count the examples that Hypothesis draws."""
    handle = getattr(item.obj, "hypothesis", None)
    if handle is not None and tags(item):
        item.examples = 0
        inner = getattr(handle.inner_test, "__wrapped__", handle.inner_test)

        def counted(*arguments, **keywords):
            item.examples += 1
            return inner(*arguments, **keywords)

        counted.__wrapped__ = inner
        handle.inner_test = counted


def pytest_terminal_summary(terminalreporter, config):
    known = config.stash.get(derivations, None)
    if not known:
        return
    terminalreporter.section("derivations")
    for name, row in sorted(known.items(), key=lambda pair: pair[1]["tags"]):
        for tag in row["tags"]:
            terminalreporter.write_line(f"[{tag}] {row['outcome']}, {row['cases']} cases, {row['seconds']:.2f} s")
        terminalreporter.write_line(f"    {row['sentence']}\n    {name}")
    path = config.rootpath / "gallery" / "derivations.json"
    path.parent.mkdir(exist_ok=True)
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() and config.getoption("--equation") else {}
    now = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit(config.rootpath),
    }
    rows = earlier | {name: row | now for name, row in known.items()}
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    terminalreporter.write_line(f"record: {path}")


def commit(root):
    """The commit that is checked out, or nothing outside a repository."""
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
