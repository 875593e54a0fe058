"""Runs the demos in the lecture's order: `python -m demos [NAME ...] [--quick] [--out DIR] [--list]`.

Each demo runs in a process of its own, just as `python demos/NAME.py` does. They make one self-contained
`index.html`: what the lecture says, the equation, what was measured, the figures, and how long it took.
"""

import argparse
import base64
import html
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
LECTURE_ORDER = {
    "noise_contrast": "data against noise",
    "shuffled_patches": "data against shuffled data, and jigsaw",
    "pca": "PCA by its three definitions",
    "autoencoders": "the identity and how to make it impossible",
    "colorize": "colour from grey",
    "time_series": "prediction of the future",
    "linear_prediction": "the linear model, exact and fast",
    "next_word": "prediction of the next word",
    "downstream": "what the features are for: few labels",
    "nce_estimation": "noise-contrastive estimation of models",
    "generation": "generation by sampling",
}
STYLE = """body{font:16px/1.5 Georgia,serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}
h1,h2{font-weight:normal}h2{border-top:1px solid #ccc;padding-top:1em}blockquote{color:#555;margin-left:0}
pre{background:#f6f6f6;padding:.6em;overflow-x:auto}img{max-width:100%}figcaption{color:#555}figure{margin:1.5em 0}
table{border-collapse:collapse;margin:1em 0;font:14px/1.4 sans-serif}td,th{padding:.2em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}thead{border-bottom:1px solid #888}
caption{text-align:left;font-weight:bold}"""


def show(item, out):
    """One table, figure or finding as HTML."""
    if item["kind"] == "text":
        return f"<p>{html.escape(item['text'])}</p>"
    if item["kind"] == "figure":
        image = base64.b64encode((out / item["file"]).read_bytes()).decode()
        caption = html.escape(item["caption"])
        return (
            f"<figure><img alt='{html.escape(caption, quote=True)}' src='data:image/png;base64,{image}'>"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    head, *rows = [[html.escape(c) for c in row] for row in item["cells"]]
    body = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(item['title'])}</caption><thead><tr><th>{'</th><th>'.join(head)}</th></tr></thead>"
        f"<tbody>{body}</tbody></table><p>{html.escape(item['note'])}</p>"
    )


def page(records, out):
    """The gallery, from the records that the demos wrote."""
    sections = []
    for r in records:
        shown = "\n".join(show(item, out) for item in r["shown"])
        sections.append(
            f"<h2 id='{r['name']}'>{html.escape(r['title'])}</h2><blockquote>{html.escape(r['lecture'])}</blockquote>"
            f"<pre>{html.escape(r['equation'])}</pre>{shown}<p>demos/{r['name']}.py, {r['seconds']:.1f} s</p>"
        )
    links = " · ".join(f"<a href='#{r['name']}'>{html.escape(r['title'])}</a>" for r in records)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>minissl</title><style>{STYLE}</style>"
        "<h1>minissl: self-supervised learning, as measured on this machine</h1>"
        f"<p>{links}</p>{''.join(sections)}</html>"
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m demos", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="demos to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds each")
    parser.add_argument("--out", default="gallery", metavar="DIR", help="where figures and index.html go")
    parser.add_argument("--list", action="store_true", help="list the demos")
    options, further = parser.parse_known_args()
    if options.list:
        for name, idea in LECTURE_ORDER.items():
            print(f"{name:18} {idea}")
        return 0
    unknown = [name for name in options.names if not (HERE / f"{name}.py").exists()]
    if unknown:
        parser.error(f"no demo {', '.join(unknown)}; python -m demos --list names them")
    out, records, failed = pathlib.Path(options.out), [], []
    for name in options.names or LECTURE_ORDER:
        command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(out), *further]
        began = time.time()
        code = subprocess.run(command + ["--quick"] * options.quick, check=False).returncode
        record = out / f"{name}.json"
        if code or not record.exists() or record.stat().st_mtime < began - 1:
            failed.append(name)
        else:
            records.append(json.loads(record.read_text()))
    if records:
        (out / "index.html").write_text(page(records, out), encoding="utf-8")
        print(f"\ngallery: {out / 'index.html'}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
