"""A web hook as a sink, over real connections: what is sent, what is sent again, and what fails at once."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid, RecordFailed, SinkUnwritable
from sage.flow.connectors.http_sink import Hook, HookBusy
from sage.flow.guarantees import guarantees_of

Answer = tuple[int, dict[str, str]]
OK: Answer = (200, {})
DEADLINE_S = 30.0


class HookServer:
    """Answers by `answer`, a function of the body and how often it came; `taken` are those that were taken."""

    def __init__(self) -> None:
        self.answer: Callable[[Any, int], Answer] = lambda body, num: OK
        self.before: Callable[[], object] = lambda: None
        self.came: Counter[str] = Counter()
        self.taken: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.num_connections = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, body: Any, headers: dict[str, str]) -> Answer:
        self.before()
        with self._lock:
            self.came[str(body)] += 1
            answer = self.answer(body, self.came[str(body)])
            self.headers.append(headers)
            if answer is OK:
                self.taken.append(body)
            return answer

    def connected(self) -> None:
        with self._lock:
            self.num_connections += 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connected()
                super().setup()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers = server.take(body, dict(self.headers))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def hook() -> Iterator[HookServer]:
    server = HookServer()
    yield server
    server.close()


def key_of(number: int) -> str:
    return f"order-{number}"


def test_each_record_is_sent_once_over_few_connections(hook: HookServer) -> None:
    flow = sage.Flow("f")
    numbers = flow.from_collection(range(200))
    numbers.to_http(hook.url, key=key_of, headers={"Authorization": "Bearer x"}, max_in_flight=4)
    result = flow.run(timeout_s=DEADLINE_S, progress=False)
    assert sorted(hook.taken) == list(range(200))
    assert {headers["Idempotency-Key"] for headers in hook.headers} == {key_of(number) for number in range(200)}
    assert {(headers["Authorization"], headers["Content-Type"]) for headers in hook.headers} == {
        ("Bearer x", "application/json")
    }
    assert hook.num_connections < 200
    assert result.records_in == 200


def test_what_may_pass_is_sent_again_with_its_key_and_one_at_a_time_keeps_order(hook: HookServer) -> None:
    answers: dict[int, Answer] = {1: (503, {"Retry-After": "0"}), 2: (429, {"Retry-After": "0.01"}), 3: (500, {})}
    hook.answer = lambda body, num: answers.get(num, OK) if body == 2 else OK
    flow = sage.Flow("f")
    flow.from_collection(range(5)).to_http(hook.url, key=key_of, max_in_flight=1, retries=3, backoff_s=0.001)
    flow.run(timeout_s=DEADLINE_S, progress=False)
    assert hook.taken == [0, 1, 2, 3, 4]
    assert [headers["Idempotency-Key"] for headers in hook.headers].count("order-2") == 4


def test_each_of_several_instances_has_its_own_limit_of_requests(hook: HookServer) -> None:
    both, came = threading.Barrier(2, timeout=DEADLINE_S), count()
    hook.before = lambda: both.wait() if next(came) < 2 else None
    flow = sage.Flow("f")
    numbers = flow.from_collection(range(20)).with_parallelism(2)
    numbers.to_http(hook.url, max_in_flight=1, retries=0).with_parallelism(2)
    (line,) = guarantees_of(flow.graph(), 0)
    assert line.endswith("; by 2 instances, which keep no order between them")
    flow.run(timeout_s=DEADLINE_S, progress=False)
    assert sorted(hook.taken) == list(range(20))


def test_what_will_not_pass_is_set_aside_at_once_and_secrets_are_not_shown(hook: HookServer) -> None:
    refused: dict[int, Answer] = {1: (400, {}), 3: (302, {"Location": "/elsewhere"})}
    hook.answer = lambda body, num: refused.get(body, OK)
    flow = sage.Flow("f")
    flow.from_collection(range(5)).to_http(hook.url, retries=3).named("hook").on_error("dead_letter")
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        assert job.wait(DEADLINE_S).dead_letters == 2
        letters = job.dead_letters()
    assert sorted(hook.taken) == [0, 2, 4]
    assert [hook.came["1"], hook.came["3"]] == [1, 1]
    assert sorted((letter.step, letter.value) for letter in letters) == [("hook", "1"), ("hook", "3")]
    assert "answered 400" in "".join(letter.error for letter in letters)
    assert not any("secret" in letter.error + letter.traceback for letter in letters)


def test_a_run_that_goes_on_sends_again_under_the_same_keys(hook: HookServer, tmp_path: Path) -> None:
    hook.answer = lambda body, num: (400, {}) if body == 300 and num == 1 else OK
    kept = sage.Checkpoint(tmp_path, every_s=0.01)

    def run() -> None:
        flow = sage.Flow("going-on")
        flow.from_collection(range(400)).to_http(hook.url, key=key_of, retries=0)
        flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=kept)

    with pytest.raises(RecordFailed, match="answered 400"):
        run()
    run()
    assert set(hook.taken) == set(range(400))
    assert len(hook.headers) == sum(hook.came.values())
    assert {headers["Idempotency-Key"] for headers in hook.headers} == {key_of(number) for number in range(400)}


def test_batches_are_lists_before_it(hook: HookServer) -> None:
    flow = sage.Flow("f")
    flow.from_collection(range(10)).map_batches(lambda some: [some], max_records=4).to_http(hook.url)
    flow.run(timeout_s=DEADLINE_S, progress=False)
    assert sorted(number for batch in hook.taken for number in batch) == list(range(10))


def test_a_plan_says_what_is_promised() -> None:
    flow = sage.Flow("f")
    numbers = flow.from_collection([1])
    numbers.to_http("https://a.org/hook", key=key_of)
    numbers.to_http("https://a.org/hook").named("billing")
    with_key, without = guarantees_of(flow.graph(), 0, is_kept=True)
    assert [line.split(": ")[0] for line in (with_key, without)] == ["to_http", "billing"]
    assert "at least once, with one Idempotency-Key" in with_key
    assert "Idempotency-Key" not in without
    assert "Idempotency-Key" in guarantees_of(flow.graph(), 1)[0]
    assert [line.split(": ")[:2] for line in guarantees_of(flow.graph(), 0)] == [
        ["to_http", "each record at least once, with one Idempotency-Key"],
        ["billing", "each record at least once"],
    ]
    assert "secret" not in repr(Hook("https://a.org/secret"))


def test_what_gives_no_request_is_refused() -> None:
    with pytest.raises(SinkUnwritable, match="no JSON form"):
        Hook("https://a.org").request(object())
    for key in ("", "a\nb", "é", "x" * 256):
        with pytest.raises(SinkUnwritable, match="an Idempotency-Key is a text"):
            Hook("https://a.org", key=str).request(key)
    assert Hook("https://a.org", headers=(("content-type", "a/b"),)).request("x").headers == {"Content-Type": "a/b"}
    with pytest.raises(HookBusy) as busy:
        Hook("https://a.org:8443/x").check(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "")
    assert (str(busy.value), busy.value.retry_after_s) == ("https://a.org:8443 answered 503: ", 0.0)


@pytest.mark.parametrize("options", [{"url": "ftp://a.org"}, {"url": "hook"}, {"method": "GET"}, {"timeout_s": 0.0}])
def test_a_hook_that_cannot_be_is_refused_where_it_is_written(options: dict[str, Any]) -> None:
    with pytest.raises(FlowInvalid, match=r"test_http_sink\.py"):
        sage.Flow("f").from_collection([1]).to_http(**{"url": "https://a.org", **options})
