"""Topics of Kafka as sources and sinks, against the mock cluster of its client: real sockets, a simulated broker."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import confluent_kafka as ck
import msgspec
import pytest
from structlog.testing import capture_logs

import sage
from sage.base.errors import FlowInvalid, RecordFailed, SinkUnwritable, SourceUnreadable
from sage.flow.connectors import kafka_client
from sage.flow.connectors.kafka_client import Complaints
from sage.flow.connectors.kafka_sink import KafkaSink
from sage.flow.connectors.kafka_source import KafkaSource
from sage.flow.guarantees import guarantees_of
from tests.unit.flow.connectors.reading import Counted, FailsOnceKept

NUM_PARTITIONS = 4  # of every topic of the mock cluster


@pytest.fixture
def topic(servers: str) -> str:
    """A topic of ten messages."""
    name = f"t{uuid4().hex}"
    producer = ck.Producer({"bootstrap.servers": servers})
    for number in range(10):
        producer.produce(
            name,
            f"value {number}",
            f"key {number}",
            partition=number % 3,
            headers={"n": str(number)},
            timestamp=1000 + number,
        )
    assert producer.flush(10) == 0
    return name


def read_all(source: KafkaSource) -> list[Any]:
    reader = source.open()
    found: list[Any] = []
    while (records := reader.read(3)) is not None:
        found += records
    reader.close()
    return sorted(found, key=lambda record: record["value"])


def first_of(reader: Any) -> Any:
    """Return what comes first; raises what the reading ends with."""
    while not (found := reader.read(10)):
        pass
    return found


def test_messages_of_all_partitions_are_read_with_all_their_parts(servers: str, topic: str) -> None:
    found = read_all(KafkaSource(servers, (topic,), until_end=True))
    assert [record["value"].decode() for record in found] == [f"value {number}" for number in range(10)]
    assert found[5] == {
        "topic": topic,
        "partition": 2,
        "offset": 1,
        "key": b"key 5",
        "value": b"value 5",
        "timestamp_s": 1.005,
        "headers": [("n", b"5")],
    }


def test_each_partition_is_gone_on_with_at_its_offset(servers: str, topic: str) -> None:
    source = KafkaSource(servers, (topic,), until_end=True)
    reader = source.open()
    first: list[Any] = []
    while len(first) < 4:
        first += reader.read(2) or ()
    position = msgspec.msgpack.decode(msgspec.msgpack.encode(reader.position()))
    reader.close()
    assert sum(offset for _, _, offset in position) == len(first)
    again = source.open_at(position)
    rest: list[Any] = []
    while (records := again.read(100)) is not None:
        rest += records
    again.close()
    values = sorted(record["value"] for record in (*first, *rest))
    assert values == sorted(f"value {number}".encode() for number in range(10))


def test_what_comes_later_is_read_and_a_read_of_nothing_returns(servers: str, topic: str) -> None:
    reader = KafkaSource(servers, (topic,), start="latest").open()
    assert reader.read(10) == []
    producer = ck.Producer({"bootstrap.servers": servers})
    producer.produce(topic, "late")
    producer.flush(10)
    found = first_of(reader)
    assert [record["value"] for record in found] == [b"late"]
    assert found[0]["key"] is None
    reader.close()


def test_where_messages_are_gone_the_reading_ends(servers: str, topic: str) -> None:
    source = KafkaSource(servers, (topic,))
    reader = source.open_at([(topic, partition, 500) for partition in range(NUM_PARTITIONS)])
    with pytest.raises(SourceUnreadable, match="has no message any more where the reading was to go on"):
        first_of(reader)
    reader.close()
    with pytest.raises(SourceUnreadable, match=r"had the partitions .*, and has them no more"):
        source.open_at([("other", 0, 0)])


def test_servers_that_do_not_answer_are_named_in_time_and_why(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By itself the client prints a line for each of its tries, twenty a second."""
    monkeypatch.setattr(kafka_client, "START_LIMIT_S", 0.2)
    why = r"no broker answered within 0\.2 s, the last try: .*Connection refused$"
    with pytest.raises(SourceUnreadable, match=r"clicks of Kafka at 127\.0\.0\.1:1 cannot be read: ") as unread:
        KafkaSource("127.0.0.1:1", ("clicks",)).open()
    with pytest.raises(SinkUnwritable, match=r"clicks of Kafka at 127\.0\.0\.1:1 cannot be written: ") as unwritten:
        KafkaSink("127.0.0.1:1", "clicks").open()
    assert re.search(why, unread.value.what)
    assert re.search(why, unwritten.value.what)
    assert "%3|" not in capfd.readouterr().err


def test_what_the_client_says_again_and_again_is_logged_once() -> None:
    with capture_logs() as logged:
        complaints = Complaints("clicks")
        for after_ms in range(5):
            complaints.log(40, "%s [%s] %s", "FAIL", "c-1", f"[thrd:b]: b failed (after {after_ms}ms in state CONNECT)")
        complaints.log(20, "%s [%s] %s", "NOTE", "c-1", "by the way")
        for number in range(2 * kafka_client.MAX_COMPLAINTS):
            complaints.log(40, "%s [%s] %s", "FAIL", "c-1", f"other {number}")
    warned = [entry["text"] for entry in logged if entry["log_level"] == "warning"]
    assert warned[:2] == ["b failed", "other 0"]
    assert len(warned) == kafka_client.MAX_COMPLAINTS - 1  # what is said by the way is one of them
    assert complaints.last == f"other {2 * kafka_client.MAX_COMPLAINTS - 1}"


def test_a_setting_that_the_client_does_not_know_is_named() -> None:
    with pytest.raises(SourceUnreadable, match=r"cannot be read: No such configuration property: \"no\.such\""):
        KafkaSource("127.0.0.1:1", ("clicks",), settings=(("no.such", 1),)).open()


def test_a_flow_sends_every_part_of_a_message(servers: str) -> None:
    topic = f"t{uuid4().hex}"
    flow = sage.Flow("f")
    flow.from_collection([{"n": 1}, {"n": 2}]).to_kafka(
        servers,
        topic,
        key=lambda record: str(record["n"]),
        headers=lambda record: {"kind": "test"},
        timestamp=lambda record: record["n"] + 0.5,
    )
    flow.run(timeout_s=60, progress=False)
    found = read_all(KafkaSource(servers, (topic,), until_end=True))
    parts = ("key", "value", "timestamp_s", "headers")
    assert [tuple(record[part] for part in parts) for record in found] == [
        (b"1", b'{"n":1}', 1.5, [("kind", b"test")]),
        (b"2", b'{"n":2}', 2.5, [("kind", b"test")]),
    ]


@pytest.mark.parametrize("value", [b"bytes", "text", None])
def test_texts_and_bytes_are_values_as_they_are(servers: str, value: Any) -> None:
    topic = f"t{uuid4().hex}"
    writer = KafkaSink(servers, topic).open()
    writer.write([value])
    writer.close(complete=True)
    (found,) = read_all(KafkaSource(servers, (topic,), until_end=True))
    assert found["value"] == (value.encode() if isinstance(value, str) else value)


def test_what_has_no_json_form_is_refused(servers: str) -> None:
    writer = KafkaSink(servers, "t").open()
    with pytest.raises(SinkUnwritable, match="has no JSON form") as caught:
        writer.write([1, object()])
    assert caught.value.at == 1
    writer.close(complete=False)


def test_what_has_no_json_form_is_set_aside_alone_and_all_else_sent_once(servers: str) -> None:
    topic, flow = f"t{uuid4().hex}", sage.Flow("f")
    flow.from_collection([1, 2, float("nan"), 3, {"x": object}, 4]).to_kafka(servers, topic).on_error("dead_letter")
    assert flow.run(progress=False, timeout_s=60).dead_letters == 2
    found = read_all(KafkaSource(servers, (topic,), until_end=True))
    assert [record["value"] for record in found] == [b"1", b"2", b"3", b"4"]
    assert KafkaSink(servers, topic, key=str).form_of(5) == {"value": b"5", "key": "5"}


def value_of(number: int) -> str:
    return "x" * 2_000_000 if number == 3 else str(number)


def key_of(number: int) -> Any:
    if number == 9:
        raise IndexError("no such key")
    return {5: [5], 7: 7.5}.get(number, "k")


def test_a_record_that_a_function_or_a_broker_refuses_is_set_aside_alone_and_all_else_sent_once(servers: str) -> None:
    topic, flow = f"t{uuid4().hex}", sage.Flow("f")
    out = flow.from_collection(range(12)).to_kafka(servers, topic, key=key_of, value=value_of)
    out.on_error("dead_letter")
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        job.wait(60)
        letters = {letter.value: letter for letter in job.dead_letters()}
    found = read_all(KafkaSource(servers, (topic,), until_end=True))
    assert sorted(int(record["value"]) for record in found) == [0, 1, 2, 4, 6, 8, 10, 11]
    assert letters.keys() == {"3", "5", "7", "9"}
    assert "is a text or bytes, got [5]" in letters["5"].error
    assert "too large" in letters["3"].error.lower()
    assert letters["9"].error == "IndexError: no such key"
    assert "in key_of" in letters["9"].traceback, "it shows the user's line"


def test_a_function_that_raises_fails_the_job_at_its_record(servers: str) -> None:
    flow = sage.Flow("f")
    flow.from_collection(range(8, 12)).to_kafka(servers, "t", key=key_of)
    with pytest.raises(RecordFailed, match="failed on record 2: IndexError: no such key") as caught:
        flow.run(progress=False, timeout_s=60)
    assert "in key_of" in caught.value.user_traceback


def test_instances_keep_the_order_within_a_key(servers: str) -> None:
    topic, flow = f"t{uuid4().hex}", sage.Flow("f")
    numbers = flow.from_collection(range(3_000))
    numbers.to_kafka(servers, topic, key=lambda number: str(number % 7)).with_parallelism(3)
    flow.run(progress=False, timeout_s=60)
    reader: Any = KafkaSource(servers, (topic,), until_end=True).open()
    came: dict[bytes, list[int]] = {}
    while (records := reader.read(1_000)) is not None:
        for record in records:
            came.setdefault(record["key"], []).append(int(record["value"]))
    reader.close()
    assert came == {str(key).encode(): list(range(key, 3_000, 7)) for key in range(7)}


@pytest.mark.parametrize(("before", "now"), [(1, 1), (1, 3), (3, 2)])
def test_a_flow_that_failed_goes_on_at_the_offsets_of_its_checkpoint(
    servers: str, tmp_path: Path, before: int, now: int
) -> None:
    topic, num_messages = f"t{uuid4().hex}", 8_000
    producer = ck.Producer({"bootstrap.servers": servers})
    for number in range(num_messages):
        producer.produce(topic, str(number), partition=number % NUM_PARTITIONS)
    assert producer.flush(30) == 0

    kept = sage.Checkpoint(tmp_path / "kept", every_s=0.01)
    failing = sage.Flow("kafka")
    records = failing.from_kafka(servers, topic, until_end=True).with_parallelism(before)
    records = records.map(FailsOnceKept(tmp_path / "kept"))
    records.map(number_of).key_by(is_odd).sum(final=True).collect()
    with pytest.raises(RecordFailed):
        failing.run(timeout_s=60, progress=False, checkpoint=kept)
    counted = Counted()
    mended = sage.Flow("kafka")
    records = mended.from_kafka(servers, topic, until_end=True).with_parallelism(now).map(counted)
    sums = records.map(number_of).key_by(is_odd).sum(final=True).collect()
    mended.run(timeout_s=60, progress=False, checkpoint=kept, resume="must")
    assert dict(sums.items) == {odd: sum(range(odd, num_messages, 2)) for odd in (0, 1)}
    assert counted.num < num_messages


def number_of(record: Any) -> int:
    return int(record["value"])


def is_odd(number: int) -> int:
    return number % 2


def test_messages_that_come_again_are_promised_at_least_once() -> None:
    flow = sage.Flow("f")
    flow.from_collection(["a"]).to_kafka("broker", "topic")
    (line,) = guarantees_of(flow.graph(), 0, is_kept=True)
    assert line.startswith("to_kafka: each record at least once")


@pytest.mark.parametrize("name", ["enable.auto.commit", "bootstrap.servers"])
def test_settings_on_which_promises_rest_are_refused(name: str) -> None:
    with pytest.raises(FlowInvalid, match=f"what is promised rests on {name}"):
        sage.Flow("f").from_kafka("broker", "topic", config={name: True})


def test_topics_and_a_start_are_checked() -> None:
    with pytest.raises(FlowInvalid, match="topics are names"):
        sage.Flow("f").from_kafka("broker", [])
    with pytest.raises(FlowInvalid, match="start='newest' is unknown"):
        sage.Flow("f").from_kafka("broker", "topic", start="newest")  # type: ignore[arg-type]  # that is the mistake
