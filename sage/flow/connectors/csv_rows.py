"""Rows of CSV files, a piece of the file at a time, each with its line. Knows nothing of streams or types."""

import csv
import io
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

from sage.base.errors import SourceUnreadable
from sage.flow.files import look_at_line
from sage.flow.lines import decoded_piece, whole_lines

MAX_ROW_BYTES = 1 << 24


class RowBlock(NamedTuple):
    """Neighbouring rows of one file; blank lines are no rows.

    `lines`: the number of the line on which each begins. `first_line`, which begins at `offset_bytes`: where what was
    read at once begins.
    """

    path: str
    first_line: int
    offset_bytes: int
    lines: list[int]
    rows: list[list[str]]


def blocks_of_csv(path: str, delimiter: str, first_line: int, offset_bytes: int) -> Generator[RowBlock, None, None]:
    """Read a file from a row on. Raises SourceUnreadable where it is not CSV, with the line at fault."""
    csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_ROW_BYTES))  # for all of the process, and never lower
    rest = b""
    for piece in whole_lines(path, offset_bytes):
        raw = rest + piece
        text = decoded_piece(path, raw, first_line, offset_bytes)
        block, num_lines, is_whole = _parsed(path, text, delimiter, first_line, offset_bytes)
        if block.rows:
            yield block
        len_bytes = len(raw) if is_whole else _len_lines_bytes(raw, text, num_lines)
        rest, first_line, offset_bytes = raw[len_bytes:], first_line + num_lines, offset_bytes + len_bytes
        if len(rest) > MAX_ROW_BYTES:
            break
    if rest:
        what = f"the row on line {first_line} of {path} has a quote that nothing closes"
        raise SourceUnreadable(what, look_at_line(path, first_line))


def header_of_csv(path: str, delimiter: str) -> list[str] | None:
    """Return the first row; None where there is none."""
    with closing(blocks_of_csv(path, delimiter, 1, 0)) as blocks:
        first = next(blocks, None)
    return None if first is None else first.rows[0]


def _parsed(path: str, text: str, delimiter: str, first_line: int, offset_bytes: int) -> tuple[RowBlock, int, bool]:
    """Return the rows that are whole, of how many lines they are, and whether that is all there is."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    num_lines, is_whole = 0, True
    try:
        for row in reader:
            if row:
                lines.append(first_line + num_lines)
                rows.append(row)
            num_lines = reader.line_num
    except csv.Error as error:
        is_whole = False
        if str(error) != "unexpected end of data":  # a row that goes on in the next piece
            number = first_line + num_lines
            raise SourceUnreadable(
                f"line {number} of {path} is not CSV: {error}", look_at_line(path, number)
            ) from error
    return RowBlock(path, first_line, offset_bytes, lines, rows), num_lines, is_whole


def _len_lines_bytes(raw: bytes, text: str, num_lines: int) -> int:
    """Return how many bytes the first lines are, as the reader of CSV counts lines."""
    file = io.StringIO(text, newline="")
    for _ in range(num_lines):
        file.readline()
    return len(raw) - len(file.read().encode())


def check_header(path: str, header: Sequence[str]) -> None:
    """Raise SourceUnreadable where two columns have one name."""
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise SourceUnreadable(f"{path} has more than one column {', '.join(twice)}", "Rename them in its first line.")
