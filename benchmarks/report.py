"""A benchmark document as a table for people. Knows no benchmark: shows the figures that the results have."""

from collections.abc import Mapping

from benchmarks.document import Document
from sage.base.aligned import aligned

_FIRST = ("workload", "trace", "engine", "policy", "route", "n")


def report(document: Document) -> str:
    """Return what was run and where, and a line a result with every figure that any of them has."""
    names = [name for name in _FIRST if any(name in result for result in document.results)]
    names += dict.fromkeys(name for result in document.results for name in result if name not in names)
    names = [name for name in names if any(_is_shown(result.get(name)) for result in document.results)]
    num_left = sum(name in _FIRST[:-1] for name in names)
    rows = [names, *([_cell(result, name) for name in names] for result in document.results)]
    return "\n".join([*_heading(document), "", aligned(rows, num_left=num_left)])


def _is_shown(value: object) -> bool:
    """Say whether a value has place in a cell: lists of what each seed gave have not."""
    return (value is not None and not isinstance(value, list | dict)) or (isinstance(value, dict) and _is_flat(value))


def _is_flat(value: Mapping[object, object]) -> bool:
    return all(isinstance(each, int | float | str) for each in value.values())


def _heading(document: Document) -> list[str]:
    machine = document.machine
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    return [
        f"{document.command}  (commit {document.commit[:12]}, seed {document.seed})",
        f"{machine.cpu}, {machine.num_cpus} cpus, {memory}, {machine.python}, load {machine.load_1min} at the start",
    ]


def _cell(result: Mapping[str, object], name: str) -> str:
    value = result.get(name)
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        case dict():
            return " ".join(f"{key} {_cell(value, key)}" for key in value)
        case _:
            return str(value)
