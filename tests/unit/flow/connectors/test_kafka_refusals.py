"""What a broker refuses for what it is, by a client that is scripted: which record is named, and what is sent again."""

from typing import Any

import confluent_kafka as ck
import pytest

from sage.base.errors import SinkUnwritable
from sage.flow.connectors.kafka_sink import KafkaSink


class RefusingBroker:
    """A client whose broker takes all messages but some; `taken` are values in their order."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.taken: list[str] = []
        self.num_flushes = 0
        self._sent: list[tuple[str, Any]] = []

    def produce(self, topic: str, *, value: str, on_delivery: Any) -> None:
        self._sent.append((value, on_delivery))

    def flush(self, limit_s: float) -> int:
        self.num_flushes += 1
        sent, self._sent = self._sent, []
        for value, on_delivery in sent:
            code = self.codes.get(value)
            self.taken += [] if code else [value]
            on_delivery(ck.KafkaError(code) if code else None, None)
        return 0


class RefusingSets(RefusingBroker):
    """Refuses all that is sent together where it refuses one of them, as brokers do with sets of messages."""

    def flush(self, limit_s: float) -> int:
        self.num_flushes += 1
        sent, self._sent = self._sent, []
        code = next((self.codes[value] for value, _ in sent if value in self.codes), None)
        self.taken += [] if code else [value for value, _ in sent]
        for _, on_delivery in sent:
            on_delivery(ck.KafkaError(code) if code else None, None)
        return 0


def test_of_messages_that_a_broker_refuses_together_only_the_one_at_fault_is_named(servers: str) -> None:
    writer: Any = KafkaSink(servers, "t").open()
    writer._producer = RefusingSets(big=ck.KafkaError.MSG_SIZE_TOO_LARGE)
    left = ["0", "1", "2", "big", "4"]
    with pytest.raises(SinkUnwritable, match="was refused") as caught:
        writer.write(left)
    assert caught.value.at == 3
    del left[3]
    writer.write(left)
    assert writer._producer.taken == ["0", "1", "2", "4"]
    writer._producer = ck.Producer({})
    writer.close(complete=False)


@pytest.mark.parametrize("bad", [(), (0,), (999,), (3, 4), (0, 500, 999), tuple(range(0, 1000, 100))])
def test_those_at_fault_are_found_by_halves_and_what_was_taken_is_not_sent_again(
    servers: str, bad: tuple[int, ...]
) -> None:
    writer: Any = KafkaSink(servers, "t").open()
    broker = RefusingSets(**{str(at): ck.KafkaError.MSG_SIZE_TOO_LARGE for at in bad})
    writer._producer = broker
    records = [str(at) for at in range(1000)]
    if bad:
        with pytest.raises(SinkUnwritable, match="was refused") as caught:
            writer.write(records)
        assert tuple(error.at for error in (caught.value, *caught.value.others)) == bad
    good = [str(at) for at in range(1000) if at not in bad]
    writer.write(good)
    assert sorted(broker.taken, key=int) == good
    assert broker.num_flushes <= 3 + len(bad) * 2 * 10, "a set more for each half, and each of them twice"
    writer._producer = ck.Producer({})
    writer.close(complete=False)


def test_what_a_broker_refuses_of_a_batch_is_named_and_nothing_sent_twice(servers: str) -> None:
    writer: Any = KafkaSink(servers, "t").open()
    errors = ck.KafkaError
    writer._producer = RefusingBroker(
        b=errors.MSG_SIZE_TOO_LARGE, d=errors.INVALID_RECORD, x=errors.NOT_LEADER_FOR_PARTITION
    )
    with pytest.raises(SinkUnwritable, match="was refused") as caught:
        writer.write(list("abcde"))
    assert [error.at for error in (caught.value, *caught.value.others)] == [1, 3]
    writer.write(list("ace"))
    writer.write(["a"])
    assert writer._producer.taken == ["a", "c", "e", "a"]
    with pytest.raises(SinkUnwritable, match="cannot be written") as caught:
        writer.write(["x", "y"])
    assert caught.value.at is None
    writer._producer = ck.Producer({})
    writer.close(complete=False)
