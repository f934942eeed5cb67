"""What a client meets that posts to a flow, over real sockets: what is taken, refused and cut off."""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from cluster.web import post_door
from cluster.web.protocol import Limits
from sage.base.errors import CheckpointUnusable, SourceUnreadable
from sage.flow.connectors.http_source import HttpRequest, HttpSource
from tests.http.clients import raw_connection, read_rest, read_until
from tests.unit.web.posting import MemoryLog, error_of, post, reading

ORDERS = HttpSource("orders")
KEY = "k" * 32
NDJSON = "application/x-ndjson"
UNSUPPORTED = (415, "unsupported_media_type", "content-type")


def raw(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return the bytes of a post to ORDERS."""
    about = ("host: localhost", "content-type: application/json", *headers)
    count = len(body) if length is None else length
    head = "\r\n".join(("POST /orders HTTP/1.1", *about, f"content-length: {count}"))
    return f"{head}\r\n\r\n".encode() + body


def test_json_and_lines_of_json_are_taken_and_read_in_order() -> None:
    with reading(ORDERS) as at:
        one = post(at.url, {"id": 1})
        two = post(at.url, b'{"id": 2}\n\n{"id": 3}\n', content_type=NDJSON)
        assert [(answer.status_code, answer.json()) for answer in (one, two)] == [
            (202, {"records": 1}),
            (202, {"records": 2}),
        ]
        assert at.next(3) == [{"id": 1}, {"id": 2}, {"id": 3}]
        assert at.reader.read(10) == []


def test_a_body_in_pieces_or_packed_is_taken() -> None:
    with reading(ORDERS) as at:
        pieces = post(at.url, iter([b'{"i', b'd": 1}']))
        packed = post(at.url, gzip.compress(b'{"id": 2}'), content_encoding="gzip")
        assert (pieces.status_code, packed.status_code) == (202, 202)
        assert at.next(2) == [{"id": 1}, {"id": 2}]


def test_what_is_asked_one_after_the_other_on_one_connection_is_answered_in_order() -> None:
    with reading(ORDERS) as at, raw_connection(at.url) as connection:
        connection.sendall(raw(b"1") + raw(b"{") + raw(b"2", "connection: close"))
        answers = read_rest(connection)
        assert [answer[:3] for answer in answers.split(b"HTTP/1.1 ")[1:]] == [b"202", b"400", b"202"]
        assert at.next(2) == [1, 2]


def test_a_client_that_waits_for_the_go_ahead_gets_it_only_where_the_body_is_wanted() -> None:
    with reading(ORDERS) as at, raw_connection(at.url) as connection:
        connection.sendall(raw(b"", "expect: 100-continue", length=1))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"7")
        assert read_until(connection, b"}").startswith(b"HTTP/1.1 202 ")
        connection.sendall(raw(b"", "expect: 100-continue", length=1).replace(b"/orders", b"/others"))
        assert read_until(connection, b"}").startswith(b"HTTP/1.1 404 ")


def test_whole_requests_are_records_without_the_key() -> None:
    source = HttpSource("hook", records="requests", key_env="HOOK_KEY")
    with reading(source, environ={"HOOK_KEY": KEY}) as at:
        taken = post(f"{at.url}?a=1", b"\x00", authorization=f"Bearer {KEY}", x_event="push", content_type="image/png")
        assert taken.status_code == 202
        (request,) = at.next(1)
    assert isinstance(request, HttpRequest)
    assert (request.body, request.query, request.headers["x-event"]) == (b"\x00", "a=1", "push")
    assert "authorization" not in request.headers
    assert request.received_unix_s > 1_700_000_000


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"{", {}, (400, "invalid_json", None)),
        (b"1\n2\n{", {"content_type": NDJSON}, (400, "invalid_json", "line 3")),
        (
            b"a=1",
            {"content_type": "application/x-www-form-urlencoded"},
            (415, "unsupported_media_type", "content-type"),
        ),
        (b"1", {"content_encoding": "br"}, (415, "unsupported_media_type", "content-encoding")),
        (b"1", {"idempotency_key": "k" * 256}, (400, "invalid_value", "idempotency-key")),
        (b"1", {"host": "evil.example"}, (403, "host_not_allowed", "host")),
        (b"1", {"origin": "https://evil.example"}, (403, "origin_not_allowed", "origin")),
        (b"1", {"origin": "null"}, (403, "origin_not_allowed", "origin")),
    ],
)
def test_a_bad_request_is_refused_whole_and_what_is_at_fault_is_named(
    body: bytes, headers: dict[str, str], expected: tuple[int, str, str | None]
) -> None:
    with reading(ORDERS) as at:
        assert error_of(post(at.url, body, **headers)) == expected
        assert at.reader.read(10) == []
        assert post(at.url, b"1").status_code == 202


def test_another_path_or_method_is_refused() -> None:
    with reading(ORDERS) as at:
        assert error_of(post(f"{at.url}/more", b"1")) == (404, "not_found", None)
        got = httpx.get(at.url)
        assert error_of(got) == (405, "method_not_allowed", None)
        assert got.headers["allow"] == "POST"


@pytest.mark.parametrize("shown", [None, "Bearer", f"Bearer {KEY}x", f"Basic {KEY}", "Bearer k"])
def test_without_the_key_nothing_is_taken(shown: str | None) -> None:
    with reading(HttpSource("orders", key_env="KEY"), environ={"KEY": KEY}) as at:
        refused = post(at.url, b"1", **({} if shown is None else {"authorization": shown}))
        assert error_of(refused) == (401, "invalid_api_key", "authorization")
        assert error_of(httpx.get(f"{at.url}/other"))[0] == 401
        taken = post(at.url, b"1", authorization=f"bearer {KEY}", origin="https://shop.example", host="orders.example")
        assert taken.status_code == 202
        assert at.next(1) == [1]


@pytest.mark.parametrize("value", ["", "short", "k" * 20 + "\n" + "k" * 20, "ü" * 32])
def test_a_variable_that_holds_no_key_is_refused(value: str) -> None:
    with (
        pytest.raises(SourceUnreadable, match="the variable KEY holds no key for what is posted to 'orders'"),
        reading(HttpSource("orders", key_env="KEY"), environ={"KEY": value}),
    ):
        pass


def test_a_body_that_is_too_long_is_refused_with_or_without_its_length() -> None:
    with reading(HttpSource("orders", max_body_bytes=100_000)) as at:
        whole = post(at.url, b" " * 1_000_000)
        pieces = post(at.url, iter([b" " * 10_000] * 50), content_type=NDJSON)
        assert error_of(whole) == error_of(pieces) == (413, "request_too_large", None)
        assert post(at.url, b" " * 99_999 + b"1").status_code == 202


def test_a_head_that_never_ends_is_cut_off_and_one_that_is_too_long_refused() -> None:
    with (
        reading(ORDERS, limits=Limits(head_s=0.2)) as at,
        raw_connection(at.url) as silent,
        raw_connection(at.url) as slow,
        raw_connection(at.url) as long,
    ):
        slow.sendall(b"POST /orders HTTP/1.1\r\nhost: ")
        long.sendall(raw(b"1", "x: " + "y" * 20_000))
        assert read_rest(long).startswith(b"HTTP/1.1 431 ")
        assert read_rest(silent) == read_rest(slow) == b""
        assert post(at.url, b"1").status_code == 202


def test_a_body_that_does_not_come_is_answered_and_others_are_taken_meanwhile() -> None:
    with reading(ORDERS, body_s=0.3) as at, raw_connection(at.url) as slow:
        slow.sendall(raw(b"[1, 2, ", length=100))
        assert post(at.url, b"3").status_code == 202
        answer = read_rest(slow)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body_timeout"' in answer
        assert at.next(1) == [3]


def test_what_is_no_http_is_answered() -> None:
    with reading(ORDERS) as at, raw_connection(at.url) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 https?\r\n\r\n")
        assert b'"code":"invalid_http"' in read_rest(connection)


def test_more_connections_than_there_may_be_are_refused_until_one_ends() -> None:
    with reading(ORDERS, limits=Limits(max_connections=1)) as at:
        with raw_connection(at.url) as first:
            first.sendall(raw(b"1"))
            assert read_until(first, b"}").startswith(b"HTTP/1.1 202 ")
            with raw_connection(at.url) as second:
                assert read_rest(second).startswith(b"HTTP/1.1 503 ")
            first.sendall(raw(b"2", "connection: close"))
            assert read_rest(first).startswith(b"HTTP/1.1 202 ")
        assert at.next(2) == [1, 2]
        assert post(at.url, 3).status_code == 202


def test_a_client_that_leaves_in_the_middle_leaves_nothing() -> None:
    with reading(ORDERS) as at:
        with raw_connection(at.url) as leaving:
            leaving.sendall(raw(b"[1, 2, ", length=100))
        assert post(at.url, b"3").status_code == 202
        assert at.next(1) == [3]
        assert at.reader.read(10) == []


def test_long_bodies_that_come_at_once_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_door, "MAX_READING_BYTES", 1_000)
    with reading(ORDERS) as at, raw_connection(at.url) as slow:
        slow.sendall(raw(b" " * 900, "expect: 100-continue", length=901))
        read_until(slow, b"100 Continue\r\n\r\n")  # the head was read, and the body so far
        assert post(at.url, b" " * 50 + b"1").status_code == 202
        assert error_of(post(at.url, b" " * 200 + b"2")) == (503, "overloaded", None)
        slow.sendall(b"3")
        assert read_until(slow, b"}").startswith(b"HTTP/1.1 202 ")
        assert at.next(2) == [1, 3]


def test_a_full_queue_refuses_until_the_task_has_read() -> None:
    with reading(HttpSource("orders", max_waiting=2)) as at:
        assert [post(at.url, number).status_code for number in range(3)] == [202, 202, 503]
        refused = post(at.url, 3)
        assert error_of(refused) == (503, "overloaded", None)
        assert refused.headers["retry-after"] == "1"
        assert at.next(1) == [0]
        assert post(at.url, 4).status_code == 202
        assert at.next(2) == [1, 4]


def test_the_source_ends_after_its_last_post_which_is_answered() -> None:
    with reading(HttpSource("orders", max_posts=2)) as at:
        assert [post(at.url, number).status_code for number in range(3)] == [202, 202, 503]
        assert at.next(2) == [0, 1]
        assert at.reader.read(10) is None
        at.reader.close()
        with pytest.raises(httpx.ConnectError):
            post(at.url, 4)


def test_many_clients_at_once_have_each_post_taken_once_and_share_writes() -> None:
    log = MemoryLog()
    with reading(HttpSource("orders", max_waiting=400), log=log) as at, ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda number: post(at.url, number).status_code, range(200)))
        assert set(answers) == {202}
        assert sorted(at.next(200)) == list(range(200))
    assert sorted(int(kept.body) for kept in log.posts) == list(range(200))
    assert [kept.number for kept in log.posts] == sorted(kept.number for kept in log.posts)


def test_an_idempotency_key_has_a_post_counted_once() -> None:
    with reading(ORDERS) as at:
        answers = [post(at.url, {"id": 1}, idempotency_key="order-1") for _ in range(3)]
        assert [(answer.status_code, answer.json()) for answer in answers] == [(202, {"records": 1})] * 3
        assert error_of(post(at.url, {"id": 2}, idempotency_key="order-1")) == (422, "key_reused", "idempotency-key")
        assert at.next(1) == [{"id": 1}]
        assert at.reader.read(10) == []


def test_what_cannot_be_kept_is_not_acknowledged() -> None:
    log = MemoryLog(is_full=True)
    with reading(ORDERS, log=log) as at:
        assert error_of(post(at.url, 1)) == (503, "not_kept", None)
        log.is_full = False
        assert post(at.url, 2).status_code == 202
        assert at.next(1) == [2]


def test_a_later_reading_goes_on_at_the_position_with_what_was_kept_since() -> None:
    log = MemoryLog()
    with reading(ORDERS, log=log) as at:
        post(at.url, b"1\n2\n3", content_type=NDJSON)
        assert at.next(2) == [1, 2]
        at.reader.cut(1)
        position = at.reader.position()
        post(at.url, 4, idempotency_key="four")
    with reading(ORDERS, position, log) as at:
        post(at.url, 4, idempotency_key="four")
        post(at.url, 5)
        assert at.next(3) == [3, 4, 5]


def test_a_position_of_another_form_is_refused() -> None:
    with pytest.raises(CheckpointUnusable, match="is kept in a form that is not read here"), reading(ORDERS, (1, 2)):
        pass


def test_a_source_that_was_not_made_by_from_http_is_looked_at_too() -> None:
    open_to_all = HttpSource("orders", host="0.0.0.0")
    with pytest.raises(SourceUnreadable, match="there is no key to keep strangers out"), reading(open_to_all):
        pass


def test_what_was_kept_and_does_not_fit_the_type_of_now_is_refused() -> None:
    log = MemoryLog()
    with reading(ORDERS, log=log) as at:
        post(at.url, {"id": 1})
    with (
        pytest.raises(SourceUnreadable, match="cannot be read as it is to be now: The body does not fit the type"),
        reading(HttpSource("orders", as_type=list[int]), log=log),
    ):
        pass


def test_a_port_that_is_taken_is_refused_by_name() -> None:
    with reading(ORDERS) as at:
        port = httpx.URL(at.url).port
        assert port is not None
        with (
            pytest.raises(SourceUnreadable, match=f"'clicks' cannot listen on 127.0.0.1:{port}: it is taken"),
            reading(HttpSource("clicks", port=port)),
        ):
            pass
    with reading(HttpSource("clicks", port=port)) as at:
        assert at.url == f"http://127.0.0.1:{port}/clicks"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_this_machines_is_refused(host: str) -> None:
    with (
        pytest.raises(SourceUnreadable, match=f"'orders' cannot listen on {host}:0"),
        reading(HttpSource("orders", host=host, key_env="KEY"), environ={"KEY": KEY}),
    ):
        pass


def test_nothing_is_left_once_it_is_closed() -> None:
    before = set(threading.enumerate())
    with reading(ORDERS) as at:
        post(at.url, 1)
        connection: Any = httpx.Client()
        with connection:
            assert connection.post(at.url, json=2).status_code == 202
            at.reader.close()
    assert set(threading.enumerate()) == before
