"""Figures of a benchmark document as pictures, and as one page that needs nothing beside it.

Draws with matplotlib, which the extra `plots` brings. Knows no benchmark: bars for what results have, lines against
windows, a grid for what tenants cost each other.
"""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.document import Document
from benchmarks.report import report
from sage.base.errors import ExtraMissing, SinkUnwritable

FIGURES = (
    "ratio_to_python", "ratio_to_ideal", "records_per_s", "goodput_requests", "goodput_tokens", "jain", "prefix_hit",
    "max_load", "ttft_p99_ms", "tpot_p99_ms", "quiet_p99_ratio", "smallest_share", "record_misses",
    "engine_s_per_good", "highest_load", "p99_us", "us_per_decision", "combined_ratio", "seconds_to_first_result",
)  # fmt: skip
BY_CLASS = ("attainment", "class_ttft_p99_ms")
AGAINST_WINDOW = ("goodput_requests", "record_misses", "jain", "quiet_p99_ratio")
_NAMES = (
    "engine", "policy", "route", "prompts", "window", "num_engines", "load", "batch_records", "mode", "service_class",
)  # fmt: skip
_GROUPS = ("trace", "workload")
_DOTS_PER_INCH = 110

Picture = tuple[str, bytes]
"""A name fit for a file, and a PNG."""

Row = Mapping[str, Any]


def pictures(document: Document) -> Iterator[Picture]:
    """Yield a picture a figure that results have; raises ExtraMissing without matplotlib."""
    rows = document.results
    for figure in FIGURES:
        having = [row for row in rows if isinstance(row.get(figure), int | float)]
        if having:
            yield figure, _bars(figure, having)
    for figure in BY_CLASS:
        classes = [each for row in rows for each in _of_classes(figure, row)]
        if classes:
            yield figure, _bars(figure, classes)
    if len({row.get("window") for row in rows}) > 1:
        for figure in AGAINST_WINDOW:
            having = [row for row in rows if isinstance(row.get(figure), int | float) and row.get("window") is not None]
            if having:
                yield f"{figure}-against-window", _lines(figure, having)
    interfering = [row for row in rows if "p99_ratio" in row and "beside" in row]
    if interfering:
        yield "interference", _grid(interfering)


def _of_classes(figure: str, row: Row) -> list[Row]:
    """Return a row for each class that `row` has a figure of."""
    found = row.get(figure)
    values = found if isinstance(found, dict) else {}
    return [{**row, figure: value, "service_class": name} for name, value in values.items()]


def page(named: Sequence[tuple[str, Document]]) -> str:
    """Return HTML with the table and the pictures of each document, by its name; raises ExtraMissing."""
    parts = ["<!doctype html><meta charset='utf-8'><title>sage-benchmark</title>", _STYLE]
    for name, document in named:
        parts.append(f"<h1>{html.escape(name)}</h1><pre>{html.escape(report(document))}</pre>")
        for figure, png in pictures(document):
            data = base64.b64encode(png).decode()
            parts.append(f"<img alt='{html.escape(figure)}' src='data:image/png;base64,{data}'>")
    return "\n".join(parts) + "\n"


def write_pictures(named: Sequence[tuple[str, Document]], folder: Path) -> list[Path]:
    """Write a PNG a picture into `folder`, which is made, and return them; raises ExtraMissing, SinkUnwritable."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in named:
            for figure, png in pictures(document):
                written.append(folder / f"{name}-{figure}.png")
                written[-1].write_bytes(png)
    except OSError as error:
        raise SinkUnwritable(f"cannot write into {folder}: {error}", "Name a folder that can be written to.") from error
    return written


def _bars(figure: str, rows: Sequence[Row]) -> bytes:
    """Draw a bar a result, with its interval where it has one."""
    labels = [_label(row, rows) for row in rows]
    values = [float(row[figure]) for row in rows]
    below = [max(0.0, float(row[figure]) - float(row.get(f"{figure}_low", row[figure]))) for row in rows]
    above = [max(0.0, float(row.get(f"{figure}_high", row[figure])) - float(row[figure])) for row in rows]
    drawing = _new(height_inches=1.0 + 0.3 * len(rows))
    axes = drawing.subplots()
    axes.barh(range(len(rows)), values, xerr=[below, above], capsize=2, color="#4878a8")
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_title(figure + (" (simulated)" if any(row.get("simulated") for row in rows) else ""), fontsize=9)
    return _png(drawing)


def _lines(figure: str, rows: Sequence[Row]) -> bytes:
    """Draw a line over the windows for each setup."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        alike = [{**each, "window": None} for each in rows]
        lines.setdefault(_label({**row, "window": None}, alike), []).append((int(row["window"]), float(row[figure])))
    drawing = _new(height_inches=4.0)
    axes = drawing.subplots()
    for label, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("sequences given to one engine at once", fontsize=8)
    axes.set_title(figure + (" (simulated)" if any(row.get("simulated") for row in rows) else ""), fontsize=9)
    if len(lines) > 1:
        axes.legend(fontsize=7)
    return _png(drawing)


def _grid(rows: Sequence[Row]) -> bytes:
    """Draw what the tenants beside (columns) cost the tenants (rows), the mean over the results."""
    names = sorted({str(row["tenant"]) for row in rows} | {str(row["beside"]) for row in rows})
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((str(row["tenant"]), str(row["beside"])), []).append(float(row["p99_ratio"]))
    means = {pair: sum(ratios) / len(ratios) for pair, ratios in found.items()}
    drawing = _new(height_inches=1.5 + 0.5 * len(names))
    axes = drawing.subplots()
    axes.imshow([[means.get((own, other), 1.0) for other in names] for own in names], cmap="OrRd", vmin=1.0)
    for (own, other), ratio in means.items():
        axes.text(names.index(other), names.index(own), f"{ratio:.2f}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title("p99 of first tokens beside another tenant, by alone (simulated)", fontsize=9)
    return _png(drawing)


def _label(row: Row, rows: Sequence[Row]) -> str:
    """Return what tells a result from the others, after what it is of."""
    told = [name for name in _NAMES if len({str(each.get(name)) for each in rows}) > 1 and row.get(name) is not None]
    group = next((str(row[name]) for name in _GROUPS if row.get(name) is not None), "")
    return " ".join([group, *(f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in told)])


def _new(*, height_inches: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ExtraMissing(f"pictures are drawn by matplotlib: {error}", "pip install 'sage-engine[plots]'") from error
    return Figure(figsize=(8.0, height_inches), layout="constrained")


def _png(drawing: Any) -> bytes:
    target = io.BytesIO()
    drawing.savefig(target, format="png", dpi=_DOTS_PER_INCH)
    return target.getvalue()


_STYLE = """<style>
body { font: 14px sans-serif; margin: 2em auto; max-width: 70em; }
pre { overflow-x: auto; font-size: 11px; background: #f6f6f6; padding: 1em; }
img { max-width: 100%; display: block; margin: 1em 0; }
</style>"""
