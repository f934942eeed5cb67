"""Lines of UTF-8 files, a block of them at a time. Knows nothing of streams or of what a line means."""

import os
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator
from typing import NamedTuple

from sage.base.errors import SourceUnreadable
from sage.flow.files import opened

LEN_READ_BYTES = 1 << 18


class Block(NamedTuple):
    """Neighbouring lines of one file, without their ends; `first_line` counts from 1.

    `offset_bytes`: where in the file the first line of what was read at once begins.
    """

    path: str
    first_line: int
    lines: list[str]
    offset_bytes: int


def blocks_of_files(paths: list[str], first_line: int = 1, offset_bytes: int = 0) -> Generator[Block, None, None]:
    """Read the files one after the other. Lines end in `\\n` or `\\r\\n`; a byte order mark is dropped.

    `first_line`, which begins at `offset_bytes`, is the first one read of the first file.

    Raises SourceUnreadable where a file cannot be read or is not UTF-8, with the offset of the byte at fault.
    """
    for path in paths:
        yield from _blocks_of_file(path, first_line, offset_bytes)
        first_line, offset_bytes = 1, 0


def _blocks_of_file(path: str, first_line: int, offset_bytes: int) -> Iterator[Block]:
    for raw in whole_lines(path, offset_bytes):
        text = decoded_piece(path, raw, first_line, offset_bytes)
        lines = text.replace("\r\n", "\n").split("\n")
        if not lines[-1]:
            lines.pop()
        yield Block(path, first_line, lines, offset_bytes)
        first_line += len(lines)
        offset_bytes += len(raw)


def whole_lines(path: str, offset_bytes: int) -> Iterator[bytes]:
    """Yield the file's bytes from an offset on, in pieces that end at the end of a line."""
    pieces: list[bytes] = []
    with opened(path, offset_bytes=offset_bytes) as file:
        while piece := file.read(LEN_READ_BYTES):
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield b"".join((*pieces, piece[:cut]))
                pieces = [piece[cut:]]
            else:
                pieces.append(piece)
    if rest := b"".join(pieces):
        yield rest


def decoded_piece(path: str, raw: bytes, first_line: int, offset_bytes: int) -> str:
    """Return what was read at an offset as text, without a byte order mark; raises SourceUnreadable."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = first_line + raw.count(b"\n", 0, error.start)
        raise SourceUnreadable(
            f"{path} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {offset_bytes + error.start}, line {line}",
            f"Convert it: iconv -f WINDOWS-1252 -t UTF-8 {os.path.basename(path)} > utf8.txt",
        ) from error
    return text.removeprefix(BOM_UTF8.decode()) if offset_bytes == 0 else text
