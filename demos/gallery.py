"""What every demo shares: its command line, its tables and figures, and the record that the gallery page is made of."""

import argparse
import json
import os
import pathlib
import time

import matplotlib

matplotlib.use(os.environ.get("MPLBACKEND", "Agg"))
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "image.cmap": "gray",
        "image.interpolation": "nearest",
    }
)


class Demo:
    """One demo's run: options in, tables and figures out.

    Parameters
    ----------
    name : str
        File name of the demo without its ending.
    title : str
    lecture : str
        What the lecture says.
    equation : str
        The equation(s) in question, plain text.
    options : dict, optional
        Further command line options: {"--fashion-mnist": dict(metavar="DIR", help=...)}.

    Attributes
    ----------
    quick : bool
        Whether this is a smoke run of a few seconds.
    options : argparse.Namespace
    """

    def __init__(self, name, title, lecture, equation, options=None):
        parser = argparse.ArgumentParser(prog=f"demos/{name}.py", description=title)
        parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds")
        parser.add_argument("--out", default="gallery", metavar="DIR", help="where figures go (default: gallery)")
        for flag, settings in (options or {}).items():
            parser.add_argument(flag, **settings)
        self.options, _ = parser.parse_known_args()  # an editor that runs cells adds options of its own
        self.quick = self.options.quick
        self.name = name
        self.directory = pathlib.Path(self.options.out)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.began = time.perf_counter()
        self.record = {"name": name, "title": title, "lecture": lecture, "equation": equation, "shown": []}
        print(f"\n=== {title} {'(quick run: figures mean little)' if self.quick else ''}\n{lecture}\n{equation}")

    def table(self, title, header, rows, note=""):
        """Print a table; floats are shown with four significant digits, everything else as it is."""
        rows = [[f"{c:.4g}" if isinstance(c, (float, np.floating)) else str(c) for c in row] for row in rows]
        cells = [list(map(str, header)), *rows]
        widths = [max(len(c) for c in column) for column in zip(*cells, strict=True)]
        print(f"\n{title}")
        for first, *others in cells:
            line = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
            print("  " + "  ".join(line))
        if note:
            print(f"  {note}")
        self.record["shown"].append({"kind": "table", "title": title, "cells": cells, "note": note})

    def figure(self, fig, label, caption):
        """Save a figure as OUT/NAME_LABEL.png."""
        path = self.directory / f"{self.name}_{label}.png"
        fig.savefig(path)
        plt.close(fig)
        print(f"  figure: {path}")
        self.record["shown"].append({"kind": "figure", "file": path.name, "caption": caption})

    def say(self, text):
        """Print a finding."""
        print(f"\n{text}")
        self.record["shown"].append({"kind": "text", "text": text})

    def finish(self):
        """Write the record that `python -m demos` makes its page of."""
        self.record["seconds"] = time.perf_counter() - self.began
        (self.directory / f"{self.name}.json").write_text(json.dumps(self.record, indent=1))
        print(f"  {self.record['seconds']:.1f} s")


def progress(losses, epochs, label):
    """The losses of `train`, behind a progress bar that shows the latest."""
    bar = tqdm(losses, total=epochs, desc=label, leave=False)
    for loss in bar:
        bar.set_postfix_str(f"loss {loss:.4g}")
        yield loss


def interval(values):
    """Mean and half-width of its 95% interval (Student's t) over independent runs, along the first axis."""
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    n = len(values)
    return values.mean(axis=0), t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / n**0.5


def pm(values, digits=3):
    """Mean +- half-width of the 95% interval, as text."""
    mean, half = interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def tiles(ax, images, columns, title="", limits=None):
    """Draw images of one shape (h, w) or (h, w, 3) as a grid with thin gaps on one axis."""
    images = np.asarray(images, dtype=float)
    h, w = images.shape[1:3]
    rows = -(-len(images) // columns)
    low, high = limits if limits is not None else (images.min(), images.max())
    page = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, *images.shape[3:]), float(high))
    for i, image in enumerate(images):
        r, c = divmod(i, columns)
        page[r * (h + 1) : r * (h + 1) + h, c * (w + 1) : c * (w + 1) + w] = image
    ax.imshow(np.clip((page - low) / (high - low), 0, 1) if page.ndim == 3 else page, vmin=low, vmax=high)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
