"""A flow as a picture: Mermaid text, and HTML with inline SVG for notebooks. Knows nothing of plans or runs."""

from collections.abc import Sequence
from html import escape

from sage.flow.bodies import returns_of
from sage.flow.check_graph import fills
from sage.flow.graph import Step
from sage.flow.kinds import kind_of_step
from sage.flow.spec import SINKS, ModelStep, Read

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 150, 42, 36, 16, 8  # pixels
LANE_Y = 6  # pixels above a row at which arrows run along it

_COLOURS = {"source": "#2a9d8f", "model": "#8e6bbf", "sink": "#e07a3f", "step": "#5b7db1"}


def mermaid_from_steps(steps: Sequence[Step]) -> str:
    """Return a Mermaid flowchart: sources round, model steps as hexagons, sinks as cylinders."""
    number = {step.name: index for index, step in enumerate(steps)}
    lines = ["flowchart LR"]
    lines += [f"    s{number[step.name]}{_mermaid_shape(step)}" for step in steps]
    lines += [f"    s{number[source]} --> s{number[step.name]}" for step in steps for source in step.inputs]
    lines += [f"    s{number[filler.name]} -. then .-> s{number[retrieve.name]}" for retrieve, filler in fills(steps)]
    lines += [f"    s{number[last.name]} -. again .-> s{number[head.name]}" for last, head in returns_of(steps)]
    return "\n".join(lines)


def html_from_steps(flow_name: str, steps: Sequence[Step], *, marked: str | None = None) -> str:
    """Return a heading and the flow as inline SVG; the step named `marked` has a heavy border."""
    title = f'<div style="font-weight:600;margin:4px 0">Flow “{escape(flow_name)}”: {len(steps)} steps</div>'
    return f'<div style="font-family:sans-serif;overflow-x:auto">{title}{_svg(steps, marked)}</div>'


def svg_from_steps(flow_name: str, steps: Sequence[Step]) -> str:
    """Return the flow as an SVG document of its own, on white, for files and pages."""
    return _svg(steps, None, title=flow_name)


def _mermaid_shape(step: Step) -> str:
    # Mermaid reads its own entities ("#quot;") inside quotes, and no backslash escapes.
    label = "".join(
        character if character.isalnum() or character in " _-." else f"#{ord(character)};" for character in step.name
    )
    model = f"<br/>{escape(step.spec.model)}" if isinstance(step.spec, ModelStep) else ""
    count = f" x{step.parallelism}" if step.parallelism > 1 else ""
    opening, closing = {"source": ("([", "])"), "model": ("{{", "}}"), "sink": ("[(", ")]"), "step": ("[", "]")}[
        _role(step)
    ]
    return f'{opening}"{label}{model}{count}"{closing}'


def _role(step: Step) -> str:
    if isinstance(step.spec, Read):
        return "source"
    if isinstance(step.spec, ModelStep):
        return "model"
    return "sink" if isinstance(step.spec, SINKS) else "step"


def _svg(steps: Sequence[Step], marked: str | None, *, title: str | None = None) -> str:
    """Draw the steps; with a `title` the picture stands for itself: it has its own background and colour of text."""
    places = _places(steps)
    width = max((x for x, _ in places.values()), default=0) + WIDTH + GAP_X
    height = max((y for _, y in places.values()), default=0) + HEIGHT + MARGIN
    arrows = [_arrow(places[source], places[step.name]) for step in steps for source in step.inputs]
    arrows += [_arrow(places[filler.name], places[retrieve.name], dashed=True) for retrieve, filler in fills(steps)]
    arrows += [_arrow(places[last.name], places[head.name], dashed=True) for last, head in returns_of(steps)]
    boxes = [_box(step, *places[step.name], marked=step.name == marked) for step in steps]
    colour, ground = "currentColor", ""
    if title is not None:
        colour = "#222222"
        ground = f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#ffffff" stroke="none"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        f'font-family="sans-serif" fill="{colour}" stroke="{colour}">{ground}{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def _places(steps: Sequence[Step]) -> dict[str, tuple[int, int]]:
    """Put each step one column right of the rightmost step that feeds it, in the first free row."""
    column: dict[str, int] = {}
    row: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    for step in steps:
        x = max((column[source] + 1 for source in step.inputs), default=0)
        y = min((row[source] for source in step.inputs), default=0)
        while (x, y) in taken or (not step.inputs and any(used == y for _, used in taken)):
            y += 1
        taken.add((x, y))
        column[step.name], row[step.name] = x, y
    return {name: (MARGIN + column[name] * (WIDTH + GAP_X), MARGIN + row[name] * (HEIGHT + GAP_Y)) for name in column}


def _arrow(start: tuple[int, int], end: tuple[int, int], *, dashed: bool = False) -> str:
    """Draw an arrow: a curve to the next column, else a way between columns and rows, so that it crosses no box."""
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    middle = (x1 + x2) // 2
    way = f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
    if x2 - x1 != GAP_X:
        way = f"M{x1} {y1} H{x1 + GAP_X // 2} V{end[1] - LANE_Y} H{x2 - GAP_X // 2} V{y2} H{x2}"
    style = ' stroke-dasharray="4 3"' if dashed else ""
    head = f'<path d="M{x2 - 6} {y2 - 4} L{x2} {y2} L{x2 - 6} {y2 + 4}" fill="none"/>'
    return f'<path d="{way}" fill="none"{style}/>{head}'


def _box(step: Step, x: int, y: int, *, marked: bool) -> str:
    kind = kind_of_step(step.spec) + (f" · {step.spec.model}" if isinstance(step.spec, ModelStep) else "")
    if step.parallelism > 1:
        kind += f" x{step.parallelism}"
    colour = _COLOURS[_role(step)]
    return (
        f"<g><title>{escape(f'{step.name}: {step.where}')}</title>"
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{colour}" fill-opacity="0.15" '
        f'stroke="{colour}" stroke-width="{3 if marked else 1.2}"/>'
        f'<text x="{x + 10}" y="{y + 18}" font-size="13" stroke="none">{escape(_cut(step.name, 19))}</text>'
        f'<text x="{x + 10}" y="{y + 33}" font-size="10" stroke="none" opacity="0.65">{escape(_cut(kind, 26))}</text>'
        "</g>"
    )


def _cut(text: str, num_characters: int) -> str:
    return text if len(text) <= num_characters else text[: num_characters - 1] + "…"
