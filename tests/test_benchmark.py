"""The benchmark runs, beside whatever peers are installed."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_a_quick_run_writes_every_table(tmp_path):
    for name in ("matplotlib", "tqdm", "sklearn", "skimage", "jinja2", "markdown_it", "pygments"):
        pytest.importorskip(name)
    command = [sys.executable, "demos/benchmark", "--quick", "--out", tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    shown = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))["shown"]
    tables = {" ".join(item["title"].split()[:2]) for item in shown if item["kind"] == "table"}
    assert tables >= {"A training", "An epoch", "Parts of", "A step", "PCA: time", "Probe: time", "AR(p): time"}
