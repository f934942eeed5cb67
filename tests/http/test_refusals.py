"""What is refused before anything is asked of a model: the field or header at fault, and OpenAI's body."""

from typing import Any

import httpx
import pytest

from cluster.web.protocol import Limits
from sage.base.settings import GatewaySettings
from tests.http.clients import post, raw_connection, raw_post, read_rest
from tests.http.scripted import ScriptedInference, says
from tests.http.served import served

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
BODY = {"model": "scripted", "messages": HI}
ID = {"x-request-id": "test-1"}


@pytest.mark.parametrize(
    ("change", "param", "code", "message"),
    [
        ({"temprature": 1}, "temprature", "unknown_parameter", "Unknown parameter: 'temprature'."),
        ({"messages": [{"role": "user", "content": "a", "x": 1}]}, "messages[0].x", "unknown_parameter", None),
        ({"temperature": 3}, "temperature", "invalid_value", "Invalid 'temperature': Expected `float` <= 2.0."),
        ({"temperature": "hot"}, "temperature", "invalid_type", None),
        ({"top_p": 0}, "top_p", "invalid_value", None),
        ({"max_tokens": 0}, "max_tokens", "invalid_value", None),
        ({"max_tokens": 2**31}, "max_tokens", "invalid_value", None),
        ({"max_tokens": 10**30}, "max_tokens", "invalid_value", None),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type", None),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_completion_tokens", "invalid_value", None),
        ({"seed": 2**64}, "seed", "invalid_value", None),
        ({"stop": ["a"] * 17}, "stop", "invalid_value", None),
        ({"stop": ["a" * 65]}, "stop[0]", "invalid_value", None),
        ({"stop": ""}, "stop", "invalid_value", None),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value", None),
        ({"model": ""}, "model", "invalid_value", None),
        ({"model": 1}, "model", "invalid_type", None),
        ({"messages": []}, "messages", "invalid_value", None),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role", "invalid_value", None),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type", None),
        (
            {"messages": [{"role": "user", "content": "a", "name": "Al"}]},
            "messages[0].name",
            "unsupported_parameter",
            None,
        ),
        ({"n": 2}, "n", "unsupported_parameter", "'n' is not supported by this server."),
        ({"n": True}, "n", "unsupported_parameter", None),
        ({"logprobs": True}, "logprobs", "unsupported_parameter", None),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter", None),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter", None),
        ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_parameter", None),
        ({"store": True}, "store", "unsupported_parameter", None),
    ],
)
def test_a_bad_or_unknown_field_is_named(
    url: str, change: dict[str, Any], param: str, code: str, message: str | None
) -> None:
    answer = post(url, CHAT, {**BODY, **change})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert answer.headers["x-sage-error"] == "SAGE-1203"
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert message is None or error["message"] == message


def test_values_that_change_nothing_are_taken(url: str) -> None:
    harmless = {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "response_format": {"type": "text"},
        "tools": [],
        "tool_choice": "none",
        "user": "u",
        "store": False,
        "metadata": None,
        "stream": False,
        "stream_options": None,
    }
    assert post(url, CHAT, {**BODY, **harmless}).status_code == 200


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(url: str, missing: str) -> None:
    error = post(url, CHAT, {name: value for name, value in BODY.items() if name != missing}).json()["error"]
    assert (error["param"], error["code"]) == (missing, "missing_required_parameter")
    assert error["message"] == f"Missing required parameter: '{missing}'."


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_json"),
        (b'{"model": ', "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b'{"tools": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "invalid_json"),
        (b"[]", "invalid_type"),
    ],
)
def test_what_is_no_body_is_refused(url: str, data: bytes, code: str) -> None:
    answer = post(url, CHAT, data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "scripted", "prompt": ["a", "b"]}, "prompt"),
        ("/v1/completions", {"model": "scripted", "prompt": [1, 2]}, "prompt"),
        ("/v1/completions", {"model": "scripted", "prompt": "a", "echo": True}, "echo"),
        ("/v1/embeddings", {"model": "vectors", "input": [1, 2]}, "input"),
        ("/v1/embeddings", {"model": "vectors", "input": [[1], [2]]}, "input"),
        ("/v1/embeddings", {"model": "vectors", "input": []}, "input"),
        ("/v1/embeddings", {"model": "vectors", "input": ["a", ""]}, "input"),
        ("/v1/embeddings", {"model": "vectors", "input": ["a"] * 2049}, "input"),
        ("/v1/embeddings", {"model": "vectors", "input": "a", "dimensions": 3}, "dimensions"),
        ("/v1/embeddings", {"model": "vectors", "input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_completions_and_embeddings_name_the_field_too(url: str, path: str, body: dict[str, Any], param: str) -> None:
    answer = post(url, path, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("x-sage-priority", "urgent", 400),
        ("x-sage-deadline-ms", "soon", 400),
        ("x-sage-deadline-ms", "0", 400),
        ("x-request-id", "a b", 400),
        ("x-request-id", "a" * 129, 400),
        ("x-sage-tenant", "acme", 403),
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
    ],
)
def test_a_bad_header_is_named(url: str, header: str, value: str, status: int) -> None:
    answer = post(url, CHAT, BODY, {header: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, header)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
    ],
)
def test_unknown_routes_have_openais_body_too(url: str, method: str, path: str, status: int, code: str) -> None:
    answer = httpx.request(method, url + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"


def test_a_body_that_is_too_long_is_refused_with_or_without_its_length() -> None:
    settings = GatewaySettings(max_body_bytes=100_000)
    with served(ScriptedInference(says("a")), settings) as gateway:
        whole = post(gateway.url, CHAT, b" " * 1_000_000)
        headers = {"content-type": "application/json"}
        pieces = (b" " * 10_000 for _ in range(50))
        chunked = httpx.post(gateway.url + CHAT, content=pieces, headers=headers)
        after = post(gateway.url, CHAT, BODY)
    for answer in (whole, chunked):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert after.status_code == 200


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbroken\r\n\r\n"])
def test_what_is_no_http_gets_a_400_and_the_connection_ends(url: str, head: bytes) -> None:
    with raw_connection(url) as connection:
        connection.sendall(head)
        answer = read_rest(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_http"' in answer


@pytest.mark.parametrize("ends", [True, False], ids=["whole", "endless"])
def test_a_head_that_is_too_long_is_refused(url: str, ends: bool) -> None:
    with raw_connection(url) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nx: " + b"y" * 20_000 + (b"\r\n\r\n" if ends else b""))
        answer = read_rest(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"head_too_large"' in answer


def test_a_head_that_never_ends_is_cut_off() -> None:
    with (
        served(ScriptedInference(says("a")), limits=Limits(head_s=0.2)) as gateway,
        raw_connection(gateway.url) as silent,
        raw_connection(gateway.url) as slow,
    ):
        slow.sendall(b"GET /livez HTTP/1.1\r\nhost: ")
        assert read_rest(silent) == read_rest(slow) == b""


def test_a_body_that_does_not_come_is_answered_and_the_connection_ends() -> None:
    with (
        served(ScriptedInference(says("a")), body_timeout_s=0.1) as gateway,
        raw_connection(gateway.url) as connection,
    ):
        connection.sendall(raw_post(CHAT, b"{" * 100)[:-50])
        answer = read_rest(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_timeout"' in answer


def test_a_request_that_is_never_whole_is_cut_off_wherever_it_goes() -> None:
    with (
        served(ScriptedInference(says("a")), limits=Limits(message_s=0.2)) as gateway,
        raw_connection(gateway.url) as connection,
    ):
        connection.sendall(raw_post("/v1/nothing", b"{" * 100)[:-50])
        assert b'"code":"not_found"' in read_rest(connection)


@pytest.mark.parametrize("path", ["/", "/v1/models", "/metrics", CHAT])
def test_a_foreign_name_for_this_machine_is_refused(url: str, path: str) -> None:
    """A page that a browser loaded from a name which resolves to 127.0.0.1 must not reach the models."""
    hosts = ("evil.example", "127.0.0.1.evil.example:80", "")
    answers = [httpx.get(url + path, headers={"host": host}) for host in hosts]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert answers[0].json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8000", "sage.localhost"])
def test_names_of_this_machine_are_taken(url: str, host: str) -> None:
    assert httpx.get(f"{url}/livez", headers={"host": host}).status_code == 200
