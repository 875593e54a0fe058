"""Runs the demos in the lecture's order: `python -m demos [NAME ...] [--quick] [--out DIR] [--list] [--notebooks DIR]`.

Each demo runs in a process of its own, just as `python demos/NAME.py` does. After each the pages are written anew, so
that whatever ends the run leaves what is done. A run of all ends with the derivations: `pytest -m equation`.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from ideas import IDEAS


def demo_name(text):
    """pca, pca.py or demos/pca.py, as completion gives it, is pca."""
    name = text.replace("\\", "/").removeprefix("./").removeprefix("demos/").removesuffix(".py")
    if name not in IDEAS or not (HERE / f"{name}.py").exists():
        raise argparse.ArgumentTypeError(f"no demo {text!r}; python -m demos --list names them")
    return name


def parsed():
    parser = argparse.ArgumentParser(
        prog="python -m demos",
        description="Run the demos in the lecture's order, and write a page for each.",
        epilog="A demo's own options, such as --fashion-mnist DIR, belong to it: python demos/NAME.py --help",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", type=demo_name, metavar="NAME", help="demos to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds each")
    parser.add_argument("--out", metavar="DIR", help="where the pages go (default: gallery, or gallery/quick)")
    parser.add_argument("--list", action="store_true", help="list the demos")
    parser.add_argument("--notebooks", metavar="DIR", help="execute the demos as notebooks, and write these")
    return parser.parse_args()


def run(name, out, quick):
    """One demo; whether it left a new record."""
    began, record = time.time(), out / f"{name}.json"
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(out), *["--quick"] * quick]
    code = subprocess.run(command, check=False).returncode
    if code == 130:
        raise KeyboardInterrupt
    return code == 0 and record.exists() and record.stat().st_mtime >= began - 1


def run_derivations():
    """The tests of the equations; -O would take out what they assert."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "equation"]
    return subprocess.run(command, cwd=HERE.parent, env=environment, check=False).returncode == 0


def write_notebook(name, out, quick):
    """Execute a demo as a notebook, and write it; whether it ran to its end."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    os.environ["MINISSL_QUICK"] = "1" if quick else os.environ.get("MINISSL_QUICK", "0")
    os.environ.pop("MPLBACKEND", None)  # the kernel's own shows figures
    notebook = jupytext.read(HERE / f"{name}.py")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    try:
        options = {"timeout": None, "resources": {"metadata": {"path": str(HERE)}}}
        NotebookClient(notebook, extra_arguments=["--log-level=ERROR"], **options).execute()
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return False
    nbformat.write(notebook, out / f"{name}.ipynb")
    print(f"notebook: {out / f'{name}.ipynb'}")
    return True


def main():
    options = parsed()
    present = [name for name in IDEAS if (HERE / f"{name}.py").exists()]
    if options.list:
        print("\n".join(f"{name:18} {IDEAS[name]['idea']}" for name in present))
        return 0
    import before

    os.environ["MINISSL_PAGES"] = "later"  # here, once for each demo, with what is read of the library kept
    names = list(dict.fromkeys(options.names)) or present
    out = before.writable(options.notebooks or before.gallery_directory(options.out, options.quick))
    failed = []
    try:
        if options.notebooks:
            before.require(("jupytext", "nbclient", "ipykernel"))
            failed = [name for name in names if not write_notebook(name, out, options.quick)]
        else:
            import page

            for name in names:
                failed += [] if run(name, out, options.quick) else [name]
                page.write(out)
            if not options.names and not options.quick:
                failed += [] if run_derivations() else ["derivations"]
                page.write(out)
            print(f"\ngallery: {out / 'index.html'}")
    except KeyboardInterrupt:
        print("\ninterrupted; what was done is kept", file=sys.stderr)
        return 130
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
