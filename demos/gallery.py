"""What every demo shares: its command line, its tables and figures, and the record that its sheet is made of."""

import argparse
import datetime
import io
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import before
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from tqdm import tqdm

WIDTH = 9.0  # inches; every figure is drawn at most this wide
OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]  # safe for the colour-blind
plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.figsize": (WIDTH, 3.6),
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=OKABE_ITO)
        + matplotlib.cycler(ls=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), "-"]),
        "legend.frameon": False,
        "image.cmap": "gray",
        "image.interpolation": "nearest",
        "svg.hashsalt": "minissl",
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans", "Verdana"],  # of one width: labels stay in their places on any machine
    }
)


class Demo:
    """One demo's run: options in, tables and figures out. In a notebook everything is shown, nothing written.

    `name` is that of the file, `lecture` what the lecture says, `equation` the equation(s) in question as plain text.
    `options` are further options of the command line: {"--fashion-mnist": dict(metavar="DIR", help=...)}.

    The sheet of a demo shows the derivations of the library's `modules`, such as ("noise", "views"), `limits`, what
    the demo does not show, and two or three `exercises` whose answer a test or a run gives; all are Markdown. For
    `modules` and `exercises` the default is the entry in `ideas.py`.

    `quick` is whether this is a smoke run of a few seconds, which makes no verdicts.
    """

    def __init__(self, name, title, lecture, equation, options=None, modules=None, exercises=None, limits=""):
        parser = argparse.ArgumentParser(prog=f"demos/{name}.py", description=title, allow_abbrev=False)
        parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds; MINISSL_QUICK=1 too")
        parser.add_argument("--out", metavar="DIR", help="where results go (default: gallery, or gallery/quick)")
        for flag, settings in (options or {}).items():
            parser.add_argument(flag, **settings)
        self.in_notebook = before.in_notebook()
        if self.in_notebook:  # whose command line is the kernel's own
            self.options, _ = parser.parse_known_args()
        else:
            self.options = parser.parse_args()
        self.quick = self.options.quick or os.environ.get("MINISSL_QUICK", "0") not in ("", "0")
        self.name = name
        self.directory = before.gallery_directory(self.options.out, self.quick)
        if not self.in_notebook:
            before.writable(self.directory)
        self.caller = sys._getframe(1).f_globals
        path = self.caller.get("__file__")
        self.began = time.perf_counter()
        self.files = {}
        self.record = {
            "name": name,
            "title": title,
            "lecture": lecture,
            "equation": equation,
            "modules": modules,
            "exercises": exercises,
            "limits": limits,
            "quick": self.quick,
            "lesson": "",
            "number": "",
            "source": pathlib.Path(path).read_text(encoding="utf-8") if path and not self.in_notebook else "",
            "shown": [],
        }
        print(f"\n=== {title} {'(quick run: no verdicts)' if self.quick else ''}\n{lecture}\n{equation}")

    def show(self, kind, **content):
        """Record what was shown, and by which line of the demo, for that is where it stands on the sheet."""
        frame, line = sys._getframe(1), 0
        while frame is not None:
            if frame.f_globals is self.caller:
                line = frame.f_lineno
            frame = frame.f_back
        self.record["shown"].append({"kind": kind, "line": line, **content})

    def lesson(self, sentence, number=""):
        """What the demo teaches, computed from its results: one sentence, and the one number for the index."""
        self.record |= {"lesson": sentence, "number": str(number)}

    def table(self, title, header, rows, note="", best=None):
        """Print a table; floats are shown with four significant digits, everything else as it is.

        `best` {column name: max or min} makes the best of a column bold, and with it every cell whose interval, in
        "mean ± half-width", overlaps that of the best. Where differences were taken in pairs, mark cells yourself:
        "**0.97**". A table of more than six rows or five columns is folded on the sheet: keep the main one small.
        """
        rows = [[f"{c:.4g}" if isinstance(c, (float, np.floating)) else str(c) for c in row] for row in rows]
        header = list(map(str, header))
        for column, choose in (best or {}).items():
            mark_best(rows, header.index(str(column)), choose)
        cells = [header, *rows]
        plain = [[c.replace("**", "") for c in row] for row in cells]
        widths = [max(len(c) for c in column) for column in zip(*plain, strict=True)]
        print(f"\n{title}")
        for first, *others in plain:
            line = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
            print("  " + "  ".join(line).rstrip())
        if note:
            print(f"  {note}")
        self.show("table", title=title, cells=cells, note=note)

    def figure(self, fig, label, caption, alt=None, main=False):
        """Keep a figure, at most WIDTH inches wide: lines as OUT/NAME_LABEL.svg, images as .png.

        `alt` says what is seen, for those who do not see it. The `main` one, or else the first, stands at the top of
        the sheet.
        """
        fig.set_figwidth(min(fig.get_figwidth(), WIDTH))
        if self.in_notebook:
            print(caption)
            return  # the notebook shows it
        width, height = (round(96 * inches) for inches in fig.get_size_inches())
        content, kind = drawn(fig)
        path = self.directory / f"{self.name}_{label}.{kind}"
        self.files[path] = content  # written at the end: a run that is interrupted leaves the sheet before as it was
        size = {"width": width, "height": height}
        self.show("figure", file=path.name, caption=caption, alt=alt or described(fig) or caption, main=main, **size)
        plt.close(fig)
        print(f"  figure: {path}")

    def say(self, text):
        """Print a finding."""
        print(f"\n{text}")
        self.show("text", text=text)

    def finish(self):
        """Print the lesson, and write the record of the demo and its sheet."""
        self.record |= {"seconds": time.perf_counter() - self.began, "run": circumstances()}
        if self.record["lesson"]:
            print(f"\nLesson{' (of a quick run: no verdict)' if self.quick else ''}: {self.record['lesson']}")
        print(f"  {self.record['seconds']:.1f} s")
        if not self.in_notebook:
            path = self.directory / f"{self.name}.json"
            earlier = json.loads(path.read_text(encoding="utf-8"))["shown"] if path.exists() else []
            for item in earlier:
                if item["kind"] == "figure":
                    (self.directory / item["file"]).unlink(missing_ok=True)
            for file, content in self.files.items():
                file.write_bytes(content)
            path.write_text(json.dumps(self.record, indent=1, ensure_ascii=False), encoding="utf-8")
            if not os.environ.get("MINISSL_PAGES"):  # `python -m demos` writes them itself
                import page

                page.write(self.directory)
                print(f"  sheet: {self.directory / self.name}.html")


def circumstances():
    """When, on which commit, with which versions and on what machine."""
    import scipy

    command = ["git", "-C", str(before.ROOT), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        commit = ""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit,
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{os.environ.get('OPENBLAS_NUM_THREADS') or 'all'} BLAS thread(s)",
    }


def drawn(fig, largest=90_000):
    """(content, ending): an SVG of lines; of images, and of what would be too large as an SVG, a PNG or WebP."""
    out = io.BytesIO()
    if not any(ax.images for ax in fig.axes):
        fig.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        content = shortened(out.getvalue().decode()).encode()
        if len(content) < largest:
            return content, "svg"
        out = io.BytesIO()
    fig.savefig(out, format="png", dpi=120)
    picture = Image.open(out).convert("RGB")
    palette = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return min(
        (encoded(palette, format="PNG", optimize=True), "png"),  # smaller where there are few colours
        (encoded(picture, format="WEBP", quality=80), "webp"),  # smaller for photographs
        key=lambda found: len(found[0]),
    )


def encoded(picture, **how):
    out = io.BytesIO()
    picture.save(out, **how)
    return out.getvalue()


def shortened(svg):
    """An SVG without comments, indentation, groups of one and repeated styles; hundredths, in long paths tenths."""
    superfluous = (
        r'<!--.*?-->|<!DOCTYPE.*?>|<metadata>.*?</metadata>|font-family: [^;"]*; | transform="rotate\(-0 [^)]*\)"'
    )
    svg = re.sub(superfluous, "", svg, flags=re.S)
    svg = svg.replace('<style type="text/css">', "<style>text{font-family:'DejaVu Sans',Verdana,sans-serif}", 1)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', lambda m: re.sub(rf"(\.\d{{{1 + (len(m[0]) < 200)}}})\d+", r"\1", m[0]), svg)
    svg = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", svg))
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg.replace(' z "', ' z"').replace("xlink:href", "href"))
    alike = r'<use [^>]*?( style="[^"]*")/>(?:<use [^>]*?\1/>)+'
    svg = re.sub(alike, lambda m: f"<g{m[1]}>{m[0].replace(m[1], '')}</g>", svg)
    for _ in range(3):
        svg = re.sub(r"<g>(<(?:text|use|path)\b[^>]*(?:/>|>[^<]*</text>))</g>", r"\1", svg)
    return svg


def described(fig):
    """An alt text from the titles, labels and legends of a figure."""
    panels = []
    for ax in fig.axes:
        words = [ax.get_title()]
        if ax.get_xlabel() and ax.get_ylabel():
            words.append(f"{ax.get_ylabel()} against {ax.get_xlabel()}")
        names = [text for text in ax.get_legend_handles_labels()[1] if not text.startswith("_")]
        words += [f"shown: {', '.join(names)}"] if names else []
        panels.append(": ".join(word for word in words if word))
    return " ".join("; ".join(panel for panel in panels if panel).split())


def mark_best(rows, column, choose):
    """Make bold the best of a column, and whatever its interval does not tell apart from it."""
    found = {}
    for i, row in enumerate(rows):
        match = re.fullmatch(r"\s*([+-]?[\d.]+(?:e[+-]?\d+)?)(?:\s*±\s*([\d.]+(?:e[+-]?\d+)?))?\s*%?", row[column])
        if match:
            found[i] = (float(match[1]), float(match[2] or 0))
    if found:
        best, half = choose(found.values(), key=lambda pair: pair[0])
        for i, (mean, width) in found.items():
            if abs(mean - best) <= half + width:
                rows[i][column] = f"**{rows[i][column].strip()}**"


def progress(losses, epochs, label):
    """The losses of `train_epochs`, behind a progress bar that shows the latest; no bar where nobody watches it."""
    bar = tqdm(losses, total=epochs, desc=label, leave=False, disable=None)
    for loss in bar:
        bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        yield loss


def interval(values, resplit=0.0):
    """Mean and half-width of its 95% interval (Student's t) over independent runs, along the first axis.

    Runs that split the same samples anew are not independent: for these, `resplit` is the number of held-out samples
    over that of training samples, and the interval is wider (Nadeau & Bengio 2003).
    """
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=float)
    n = len(values)
    return values.mean(axis=0), stdtrit(n - 1, 0.975) * values.std(axis=0, ddof=1) * (1 / n + resplit) ** 0.5


def pm(values, digits=None, resplit=0.0):
    """Mean ± half-width of the 95% interval, as text; with two digits of the half-width if no number is given."""
    mean, half = interval(values, resplit)
    if digits is None:
        digits = 3 if not half > 0 else int(np.clip(1 - np.floor(np.log10(half)), 0, 6))
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
