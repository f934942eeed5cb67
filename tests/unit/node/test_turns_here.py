"""The chat requests of one node: read once each, answered in order, and let go of when nobody waits any more."""

from cluster.node.turns_here import NEWS_CHARS, TurnsHere
from sage.base.clock import ManualClock
from sage.base.errors import EngineLost
from sage.base.ids import JobId, RequestId
from sage.base.inference import ChatMessage, ChatRequest, Sampling, ServiceClass, Usage
from sage.base.turns import TurnFailed, TurnShareEnded, TurnText, TurnUsed
from sage.flow.chat import ChatSource

RUN = JobId("job")
SOURCE = ChatSource("bot", 2)


def request(name: str, timeout_s: float | None = None) -> ChatRequest:
    messages = (ChatMessage("system", "be kind"), ChatMessage("user", "hi"), ChatMessage("assistant", "yes?"))
    sampling = Sampling(max_tokens=9, temperature=0.5, stop=("x",))
    return ChatRequest(
        RequestId(name), "bot", (*messages, ChatMessage("user", name)), sampling, ServiceClass.BATCH, "acme", timeout_s
    )


class Here:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.num_knocks = self.num_wakes = 0
        self.turns = TurnsHere(self._knock, self.clock)
        self.run = self.turns.of_run(RUN)
        self.reader = self.run.reader("chat", SOURCE)
        self.reader.wake_by(self._wake)

    def _knock(self) -> None:
        self.num_knocks += 1

    def _wake(self) -> None:
        self.num_wakes += 1


def test_requests_are_read_in_order_as_turns_that_say_all_that_was_asked() -> None:
    here = Here()
    assert here.reader.read(10) == []
    here.run.give("chat", [request("a"), request("b"), request("c")])
    assert here.num_wakes == 1
    first, second = here.reader.read(2)
    assert (first.value["question"], second.value["question"]) == ("a", "b")
    assert [line["role"] for line in first.value["messages"]] == ["system", "user", "assistant", "user"]
    assert (first.value["temperature"], first.value["tenant"]) == (0.5, "acme")
    assert (first.turn.service_class, first.turn.max_tokens, first.turn.stop) == (ServiceClass.BATCH, 9, ("x",))
    assert first.place.num_ways == 2
    assert [one.turn.id for one in here.reader.read(9)] == ["c"]


def test_what_tasks_say_is_gathered_behind_one_knock_in_order() -> None:
    here = Here()
    here.run.give("chat", [request("a")])
    [record] = here.reader.read(1)
    here.run.say(record, "s", "hello")
    here.run.answered(record.turn, RequestId("m"), Usage(1, 2))
    here.run.end(record, "s", "stop")
    here.run.leave(record, 1)
    here.run.fail(record.turn, EngineLost("gone"))
    assert here.num_knocks == 1
    [said] = here.turns.outgoing()
    assert said.run_id == RUN
    assert [type(news) for news in said.news] == [TurnText, TurnUsed, TurnShareEnded, TurnShareEnded, TurnFailed]
    assert here.turns.outgoing() == []


def test_a_record_that_is_left_away_before_ways_part_ends_on_all_of_them() -> None:
    here = Here()
    here.run.give("chat", [request("a")])
    [record] = here.reader.read(1)
    here.run.leave(record, 2)
    [said] = here.turns.outgoing()
    assert sum(news.place.share for news in said.news if isinstance(news, TurnShareEnded)) == 1


def test_long_news_travel_in_parts() -> None:
    here = Here()
    here.run.give("chat", [request("a")])
    [record] = here.reader.read(1)
    for _ in range(4):
        here.run.say(record, "s", "x" * (NEWS_CHARS // 2))
    assert [len(said.news) for said in here.turns.outgoing()] == [2, 2]


def test_a_request_that_is_withdrawn_is_not_read_not_answered_and_its_questions_are_named() -> None:
    here = Here()
    here.run.give("chat", [request("a"), request("b")])
    [record] = here.reader.read(1)
    here.run.asks(record.turn, RequestId("m1"))
    here.run.asks(record.turn, RequestId("m2"))
    here.run.answered(record.turn, RequestId("m1"), None)
    assert here.run.withdraw([RequestId("a"), RequestId("b")]) == ("m2",)
    assert here.reader.read(9) == []
    assert not here.run.is_open(record.turn)
    here.run.say(record, "s", "nobody hears")
    here.run.end(record, "s", "stop")
    assert here.turns.outgoing() == []
    assert here.run.withdraw([RequestId("a")]) == ()


def test_the_time_that_is_left_counts_from_when_the_request_came() -> None:
    here = Here()
    here.run.give("chat", [request("a", timeout_s=5.0), request("b")])
    first, second = here.reader.read(2)
    here.clock.advance(2.0)
    assert here.run.left_s(first.turn) == 3.0
    assert here.run.left_s(second.turn) is None


def test_a_run_that_is_over_is_forgotten() -> None:
    here = Here()
    here.turns.end_run(RUN)
    assert here.turns.of_run(RUN) is not here.run


def test_questions_of_withdrawn_requests_are_named_in_the_order_in_which_they_were_asked() -> None:
    here = Here()
    names = [RequestId(f"r{number}") for number in range(20)]
    here.run.give("chat", [request(name) for name in names])
    for record in here.reader.read(20):
        here.run.asks(record.turn, RequestId(f"m-{record.turn.id}"))
    assert here.run.withdraw(names) == tuple(f"m-{name}" for name in names)
