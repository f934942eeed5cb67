"""From bodies to records: what is read, what is refused, and at which line."""

import gzip
from typing import Any

import msgspec
import pytest

from cluster.runtime.posts import KeptPost
from cluster.web.post_bodies import decoder_of, is_lines, unpacked
from cluster.web.post_refusals import PostRefused
from sage.flow.connectors.http_source import HttpRequest, HttpSource

JSON = HttpSource("orders")
TEXT = HttpSource("lines", records="text")
WHOLE = HttpSource("hook", records="requests")


class Order(msgspec.Struct):
    id: int


def read(source: HttpSource, body: bytes, *, lines: bool = False) -> list[Any]:
    return decoder_of(source)(KeptPost(1, 2.5, lines, body, {"x-event": "push"}, "a=1"))


def refused(source: HttpSource, body: bytes, *, lines: bool = False) -> PostRefused:
    with pytest.raises(PostRefused) as raised:
        read(source, body, lines=lines)
    return raised.value


@pytest.mark.parametrize(
    ("source", "content_type", "expected"),
    [
        (JSON, "application/json", False),
        (JSON, "Application/JSON; charset=UTF-8", False),
        (JSON, "application/cloudevents+json", False),
        (JSON, "application/x-ndjson", True),
        (JSON, "application/jsonl;charset=utf-8", True),
        (TEXT, "text/plain", True),
        (WHOLE, "image/png", False),
        (WHOLE, "", False),
    ],
)
def test_the_content_type_says_what_a_record_is(source: HttpSource, content_type: str, expected: bool) -> None:
    assert is_lines(source, content_type) is expected


@pytest.mark.parametrize(
    ("source", "content_type"),
    [
        (JSON, ""),
        (JSON, "text/plain"),
        (JSON, "application/x-www-form-urlencoded"),
        (JSON, "application/json; charset=latin-1"),
        (TEXT, "application/json"),
    ],
)
def test_another_content_type_is_refused_and_the_right_one_named(source: HttpSource, content_type: str) -> None:
    with pytest.raises(PostRefused, match=r"[Ss]end") as raised:
        is_lines(source, content_type)
    assert (raised.value.status, raised.value.param) == (415, "content-type")


def test_a_json_body_is_one_record_whatever_value_it_is() -> None:
    assert read(JSON, b'{"id": 1}') == [{"id": 1}]
    assert read(JSON, b"[1, 2]") == [[1, 2]]
    assert read(JSON, b" null ") == [None]


def test_json_lines_are_a_record_each_and_blank_ones_are_passed_over() -> None:
    assert read(JSON, b'{"id": 1}\r\n\n  \n{"id": 2}', lines=True) == [{"id": 1}, {"id": 2}]


def test_a_type_is_what_json_becomes() -> None:
    typed = HttpSource("orders", as_type=Order)
    assert read(typed, b'{"id": 1}\n{"id": 2}', lines=True) == [Order(1), Order(2)]
    error = refused(typed, b'{"id": 1}\n\n{"id": "x"}', lines=True)
    assert (error.status, error.reason, error.param) == (400, "invalid_type", "line 3")
    assert "Line 3 does not fit the type: Expected `int`, got `str` - at `$.id`. Nothing of the request" in str(error)


@pytest.mark.parametrize(
    ("body", "lines", "says", "param"),
    [
        (b"", False, "The body is empty.", None),
        (b" \n ", False, "The body is empty.", None),
        (b"\n\n", True, "The body has no line that is not blank.", None),
        (b'{"id": 1', False, "The body is not JSON: ", None),
        (b'{"id": 1} x', False, "The body is not JSON: ", None),
        (b'{"id": NaN}', False, "The body is not JSON: ", None),
        (b'"\xff"', False, "The body is not JSON: ", None),
        (b"1\n2\n{", True, "Line 3 is not JSON: ", "line 3"),
        (b"[" * 100_000 + b"]" * 100_000, False, "The body is not JSON: it is nested too deep", None),
    ],
    ids=["empty", "blank", "blank-lines", "cut", "more", "nan", "no-utf8", "third-line", "deep"],
)
def test_what_is_no_json_is_refused_with_its_line(body: bytes, lines: bool, says: str, param: str | None) -> None:
    error = refused(JSON, body, lines=lines)
    assert (error.status, error.reason, error.param) == (400, "invalid_json", param)
    assert str(error).startswith(says)


def test_lines_of_text_are_records_blank_ones_too() -> None:
    assert read(TEXT, b"a\r\n\nb\n", lines=True) == ["a", "", "b"]
    assert str(refused(TEXT, b"", lines=True)) == "The body is empty."
    assert str(refused(TEXT, b"a\nb\xff\n", lines=True)).startswith("Line 2 is not UTF-8: byte 0xff.")


def test_a_whole_request_is_a_record() -> None:
    assert read(WHOLE, b"") == [HttpRequest(b"", {"x-event": "push"}, "a=1", 2.5)]


def test_gzip_is_unpacked_within_the_bound() -> None:
    packed = gzip.compress(b"x" * 1000)
    assert unpacked(packed, "gzip", 1000) == b"x" * 1000
    assert unpacked(b"as it is", "", 1000) == b"as it is"
    for body, encoding, max_bytes, status in (
        (packed, "gzip", 999, 413),
        (gzip.compress(bytes(50_000_000)), "gzip", 1000, 413),
        (b"no gzip", "gzip", 1000, 400),
        (packed[:-5], "gzip", 1000, 400),
        (packed + b"more", "gzip", 2000, 400),
        (packed, "br", 1000, 415),
    ):
        with pytest.raises(PostRefused) as raised:
            unpacked(body, encoding, max_bytes)
        assert raised.value.status == status, (encoding, max_bytes)
