"""How commands print data: tables for people, JSON for programs. Knows no command."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """Print any value that msgspec can encode, indented."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print `rows`, the first of which is the heading, in columns as wide as they need."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def megabytes(num_bytes: int) -> str:
    """Return an amount for people: `98.4 MB`."""
    return f"{num_bytes / 1e6:.1f} MB"
