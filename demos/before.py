"""What comes before NumPy and Matplotlib are loaded: the packages are there, one BLAS thread, no window, any code page.

`data` and `gallery` import it first; a demo that imports neither before NumPy says `import before`.
"""

import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXTRA = ("matplotlib", "tqdm", "sklearn", "skimage", "jinja2", "markdown_it", "pygments")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")


def in_notebook():
    """Whether this runs in the kernel of a notebook or of an editor that runs cells."""
    IPython = sys.modules.get("IPython")
    return IPython is not None and getattr(IPython.get_ipython(), "kernel", None) is not None


def one_thread():
    """Matrices this small run fastest on one thread: several only wait for one another. A number set is left alone."""
    if not any(os.environ.get(name) for name in THREADS):
        os.environ.update(dict.fromkeys(THREADS, "1"))
        if "numpy" in sys.modules:  # a kernel has loaded it already
            from threadpoolctl import threadpool_limits

            threadpool_limits(1)


def quiet_interrupt(kind, error, traceback):
    """Ctrl-C is no fault of the program's."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stdout.flush()
        os._exit(130)
    sys.__excepthook__(kind, error, traceback)


def require(packages):
    """End with one line that says what to do where packages of the demos are missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f'demos: {", ".join(missing)} not installed; run  python -m pip install -e ".[demos]"')


def gallery_directory(out, quick):
    """Where results go: the user's folder, or `gallery` beside the demos; quick runs overwrite no other results."""
    return pathlib.Path(out) if out else ROOT / "gallery" / ("quick" if quick else "")


def writable(directory):
    """The folder, made if need be; or one line that says what to do."""
    directory = pathlib.Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".writable").touch()
        (directory / ".writable").unlink()
    except OSError as error:
        sys.exit(f"demos: cannot write to {directory} ({error.strerror}); name another folder with --out DIR")
    return directory


require(EXTRA)
sys.path.append(str(ROOT))  # minissl, where it is not installed
one_thread()
if not in_notebook():
    os.environ["MPLBACKEND"] = "Agg"  # an inherited backend may need a display, or a kernel
    sys.excepthook = quiet_interrupt
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
