"""What users write of a source that listens: what is refused where it stands, what is promised, and a whole run."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid, SourceUnreadable
from sage.flow.connectors.http_source import HttpSource
from sage.flow.runner import Job
from sage.testing import rehearse
from tests.cluster.waiting import eventually
from tests.unit.web.posting import Posting, post

DEADLINE_S = 30.0


@pytest.mark.parametrize(
    ("options", "param", "says"),
    [
        ({"name": ""}, "name", "what is posted has a name"),
        ({"name": "a/b"}, "name", "what is posted has a name"),
        ({"name": 7}, "name", "what is posted has a name"),
        ({"host": "0.0.0.0"}, "host", "can be reached from other machines, and there is no key"),
        ({"host": "shop.example"}, "host", "can be reached from other machines"),
        ({"host": ""}, "host", "is no address"),
        ({"port": 65_536}, "port", "port=65536 is none"),
        ({"port": True}, "port", "port=True is none"),
        ({"port": "8080"}, "port", "port='8080' is none"),
        ({"key_env": ""}, "key_env", "names no variable"),
        ({"records": "xml"}, "records", "records='xml' is unknown"),
        ({"records": "text", "as_type": int}, "as_type", "as_type is what JSON becomes"),
        ({"max_posts": 0}, "max_posts", "max_posts is 0; it is at least 1"),
        ({"max_waiting": 1.5}, "max_waiting", "it is a whole number"),
        ({"max_body_bytes": 2**31}, "max_body_bytes", "it is at most 1 GiB"),
        ({"max_out_of_order_s": 5}, "max_out_of_order_s", "nothing says what their time is"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_the_users_line(options: dict[str, Any], param: str, says: str) -> None:
    given = {"name": "orders"} | options
    with pytest.raises(FlowInvalid, match=says) as raised:
        sage.Flow("f").from_http(**given)
    assert raised.value.param == param
    assert Path(__file__).name in str(raised.value)


def test_two_sources_of_one_name_or_one_port_are_refused() -> None:
    """Instances listen at ports in a row."""
    for first, second, num_instances, param in (
        ({"name": "a"}, {"name": "a"}, 1, "name"),
        ({"name": "a", "port": 8080}, {"name": "b", "port": 8080}, 1, "port"),
        ({"name": "a", "port": 8080}, {"name": "b", "port": 8082}, 3, "port"),
        ({"name": "a", "port": 65_534}, {"name": "b"}, 3, "port"),
    ):
        flow = sage.Flow("f")
        for options in (first, second):
            given: Any = options
            flow.from_http(**given).with_parallelism(num_instances).print()
        with pytest.raises(FlowInvalid) as raised:
            flow.graph()
        assert raised.value.param == param


def test_what_202_is_worth_is_said_where_the_flow_is_explained() -> None:
    flow = sage.Flow("f")
    flow.from_http("orders").collect()
    explained = flow.explain()
    assert explained.guarantees[0].startswith("from_http: 202 says that the post is in memory: lost where the run ends")
    assert explained.guarantees_with_checkpoints[0].startswith("from_http: 202 says that the post is on the disk")


def test_nobody_listens_for_a_rehearsal() -> None:
    flow = sage.Flow("f")
    flow.from_http("orders").collect()
    with pytest.raises(FlowInvalid, match="what is posted to orders, and a rehearsal listens to nobody"):
        rehearse(flow)
    with pytest.raises(SourceUnreadable, match="nobody listens"):
        HttpSource("orders").open()


def url_of(job: Job) -> str:
    eventually(lambda: bool(job.metrics().urls), DEADLINE_S)
    return job.metrics().urls["from_http"]


def posted(flow: sage.Flow, send: Callable[[str], object], **kept: Any) -> None:
    """Run a flow, and post to it what `send` does."""
    with sage.connect() as cluster:
        job = cluster.submit(flow, **kept)
        send(url_of(job))
        job.wait(DEADLINE_S)


def test_windows_over_posts_go_by_their_event_time() -> None:
    flow = sage.Flow("clicks")
    clicks = flow.from_http("clicks", max_posts=3, timestamp=lambda click: click["at"], max_out_of_order_s=5)
    counts = clicks.key_by(lambda click: click["who"]).window(sage.Tumbling(10)).count().collect()

    def send(url: str) -> None:
        for at in (12, 8, 31):
            assert post(url, {"who": "ann", "at": at}).status_code == 202

    posted(flow, send)
    assert [(each.start, each.value) for each in counts.items] == [(0, 1), (10, 1), (30, 1)]


def test_a_record_that_fails_is_set_aside_and_the_next_is_taken() -> None:
    flow = sage.Flow("orders")
    orders = flow.from_http("orders", max_posts=2).map(lambda order: order["id"]).on_error("dead_letter").collect()

    def send(url: str) -> None:
        assert post(url, {}).status_code == 202
        assert post(url, {"id": 7}).status_code == 202

    posted(flow, send)
    assert orders.items == [7]


def test_a_flow_that_was_cancelled_counts_what_was_acknowledged_when_it_goes_on(tmp_path: Path) -> None:
    """Also what came before the first checkpoint, and what no task had read."""

    def flow_of(max_posts: int) -> tuple[sage.Flow, Any]:
        flow = sage.Flow("orders")
        orders = flow.from_http("orders", max_posts=max_posts, records="requests").map(lambda order: len(order.body))
        return flow, orders.key_by(lambda length: "all").sum(final=True).collect()

    flow, _ = flow_of(4)
    with sage.connect() as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path, every_s=3600))
        url = url_of(job)
        assert [post(url, b"x" * 10).status_code for _ in range(3)] == [202] * 3
        job.cancel()
    flow, total = flow_of(4)
    posted(flow, lambda url: post(url, b"x").raise_for_status(), checkpoint=sage.Checkpoint(tmp_path))
    assert total.items == [("all", 31)]


def test_a_run_says_where_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = sage.Flow("orders")
    out = flow.from_http("orders", max_posts=1).collect()

    stderr = Posting(lambda url: post(url, 7).raise_for_status())
    monkeypatch.setattr(sys, "stderr", stderr)
    flow.run(timeout_s=DEADLINE_S)
    assert out.items == [7]
    assert stderr.said.startswith("orders: from_http listens at http://127.0.0.1:")


def test_posts_to_several_instances_are_counted_once_also_by_another_number_of_them(tmp_path: Path) -> None:
    """What was acknowledged and not read, read in part, or read after the newest checkpoint is gone on with."""

    def flow_of(num_instances: int, max_posts: int | None = None) -> tuple[sage.Flow, Any]:
        flow = sage.Flow("orders")
        lengths = flow.from_http("orders", max_posts=max_posts).with_parallelism(num_instances)
        return flow, lengths.key_by(lambda number: "all").sum(final=True).collect()

    num_taken = 0
    for num_instances, every_s in ((2, 3600), (3, 0.01), (1, 3600), (2, 0.01)):
        flow, _ = flow_of(num_instances)
        with sage.connect() as cluster:
            job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path, every_s=every_s))
            eventually(lambda: len(job.metrics().chains[0].urls) == num_instances, DEADLINE_S)  # noqa: B023 - called here
            for url in job.metrics().chains[0].urls:
                for _ in range(2):
                    assert post(url, 10**num_taken, idempotency_key=f"order-{num_taken}").status_code == 202
                num_taken += 1
            job.cancel()
    flow, total = flow_of(1, max_posts=num_taken + 1)
    posted(flow, lambda url: post(url, 0).raise_for_status(), checkpoint=sage.Checkpoint(tmp_path))
    assert total.items == [("all", int("1" * num_taken))]
