"""From the body of a post to records. Pure; knows no queue.

| records | content-type | a record is |
| --- | --- | --- |
| json | application/json, or one that ends in +json | the body |
| json | application/x-ndjson, or as in JSON_LINES | a line that is not blank |
| text | text/plain | a line |
| requests | any | the request |

A post is taken whole, or not at all.
"""

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from cluster.runtime.posts import KeptPost
from cluster.web.post_refusals import PostRefused
from sage.flow.connectors.http_source import HttpRequest, HttpSource

JSON_LINES = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"))
_UTF_8 = ("", "utf-8", "utf8", "us-ascii")

Decode = Callable[[KeptPost], list[Any]]
"""From a post to its records; raises PostRefused."""


def is_lines(source: HttpSource, content_type: str) -> bool:
    """Say whether a record is a line of a body of this type; raises PostRefused (415) where it cannot be read."""
    if source.records == "requests":
        return False
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charset = next((each[8:].strip('"') for each in parameters if each.startswith("charset=")), "")
    if charset not in _UTF_8:
        raise _unsupported(f"The charset {charset[:80]!r} is not read here; send UTF-8.", "content-type")
    if source.records == "text":
        if kind == "text/plain":
            return True
        raise _unsupported("Send content-type: text/plain; each line is a record.", "content-type")
    if kind in JSON_LINES:
        return True
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return False
    said = f"{kind[:80]!r} is not read here. " if kind else ""
    do = "Send content-type: application/json for one record, application/x-ndjson for a record a line."
    raise _unsupported(f"{said}{do}", "content-type")


def unpacked(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body without its content-encoding; raises PostRefused (413, 415, 400)."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise _unsupported(
            f"content-encoding {encoding[:80]!r} is not read here; send gzip, or as it is.", "content-encoding"
        )
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = unpacking.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise PostRefused(400, "invalid_gzip", f"The body is no gzip: {error}.") from error
    if len(plain) > max_bytes:
        raise PostRefused(413, "request_too_large", f"The unpacked body is longer than {max_bytes} bytes.")
    if not unpacking.eof or unpacking.unused_data:
        raise PostRefused(400, "invalid_gzip", "The body is not one whole gzip.")
    return plain


def decoder_of(source: HttpSource) -> Decode:
    """Return what makes records of the posts to a source."""
    match source.records:
        case "requests":
            return lambda post: [HttpRequest(post.body, post.headers, post.query, post.received_unix_s)]
        case "text":
            return lambda post: _lines_of(post.body)
        case "json":
            decode = msgspec.json.Decoder(source.as_type).decode
            return lambda post: _values(decode, post)


def _values(decode: Callable[[bytes], Any], post: KeptPost) -> list[Any]:
    if not post.is_lines:
        if not post.body or post.body.isspace():
            raise PostRefused(400, "invalid_json", "The body is empty.")
        return [_value(decode, post.body, None)]
    lines = enumerate(post.body.split(b"\n"), 1)
    records = [_value(decode, line, number) for number, line in lines if line and not line.isspace()]
    if not records:
        raise PostRefused(400, "invalid_json", "The body has no line that is not blank.")
    return records


def _value(decode: Callable[[bytes], Any], content: bytes, line: int | None) -> Any:
    """Decode one JSON value: the line of this number, or the body."""
    try:
        return decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        where = "The body" if line is None else f"Line {line}"
        does_not_fit = isinstance(error, msgspec.ValidationError)
        kind, reason = ("does not fit the type", "invalid_type") if does_not_fit else ("is not JSON", "invalid_json")
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        what = f"{where} {kind}: {why}. Nothing of the request was taken."
        raise PostRefused(400, reason, what, param=None if line is None else f"line {line}") from error


def _lines_of(body: bytes) -> list[str]:
    try:
        lines = body.decode().split("\n")
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        what = f"Line {number} is not UTF-8: byte 0x{body[error.start]:02x}. Nothing of the request was taken."
        raise PostRefused(400, "invalid_text", what, param=f"line {number}") from error
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise PostRefused(400, "invalid_text", "The body is empty.")
    return [line.removesuffix("\r") for line in lines]


def _unsupported(what: str, param: str) -> PostRefused:
    return PostRefused(415, "unsupported_media_type", what, param=param)
