"""The plane machine: events in, commands out."""

import pytest

from cluster.serving.events import Answer, Cancelled
from cluster.serving.plane import Plane
from sage.base.errors import (
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    RequestCancelled,
    UnknownModel,
    UnknownPolicy,
)
from tests.unit.serving.arrange import (
    BATCH,
    INTERACTIVE,
    CheckedPlane,
    aborted,
    chat,
    chat_engine,
    dispatched,
    embed,
    embed_engine,
    generate,
    wakes,
)


def test_a_request_goes_to_the_engine_that_is_free_and_its_end_answers_it() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    assert dispatched(plane.submit(chat("a"))) == [("c1", ["a"])]
    plane.end("c1", "a")
    assert plane.outcome("a") == "finished"


def test_requests_wait_in_the_plane_once_the_window_is_full() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=2))
    assert dispatched(plane.submit(chat("a"), chat("b"), chat("c"))) == [("c1", ["a", "b"])]
    assert dispatched(plane.end("c1", "a")) == [("c1", ["c"])]


def test_changing_the_policy_live_changes_the_order_seen() -> None:
    def order(*policies: str) -> list[str]:
        plane = CheckedPlane(Plane(policy="fifo"))
        plane.up(chat_engine(max_running=1))
        plane.submit(chat("first"), chat("b1", BATCH), chat("i1", INTERACTIVE), chat("s1"), chat("i2", INTERACTIVE))
        for policy in policies:
            plane.policy(policy)
        seen = ["first"]
        while commands := plane.end("c1", seen[-1]):
            seen += [id for _, ids in dispatched(commands) for id in ids]
            if plane.outcome(seen[-1]) != "open":
                break
        return seen

    assert order() == ["first", "b1", "i1", "s1", "i2"]
    assert order("priority") == ["first", "i1", "i2", "s1", "b1"]
    assert order("priority", "fifo") == ["first", "b1", "i1", "s1", "i2"]


def test_an_unknown_policy_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownPolicy, match="Did you mean 'priority'"):
        Plane(policy="prioritty")


def test_chat_and_raw_generation_of_one_model_share_its_slots_in_order() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=2))
    plane.submit(chat("a"), generate("b"))
    plane.submit(chat("late", BATCH), generate("urgent", INTERACTIVE))
    assert dispatched(plane.end("c1", "a", "b")) == [("c1", ["urgent", "late"])]


def test_the_engine_with_the_least_accounted_work_is_chosen() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine("c1", max_running=8))
    plane.up(chat_engine("c2", max_running=8))
    assert dispatched(plane.submit(chat("long", num_characters=8000))) == [("c1", ["long"])]
    assert dispatched(plane.submit(chat("a"), chat("b"), chat("c"))) == [("c2", ["a", "b", "c"])]
    plane.end("c1", "long")
    assert dispatched(plane.submit(chat("d"))) == [("c1", ["d"])]


def test_equal_engines_take_turns() -> None:
    plane = CheckedPlane()
    for name in ("c1", "c2", "c3"):
        plane.up(chat_engine(name))
    turns = []
    for id in "abcdef":
        (engine, _), *_ = dispatched(plane.submit(chat(id)))
        plane.end(engine, id)
        turns.append(engine)
    assert turns == ["c1", "c2", "c3"] * 2


def test_embeddings_take_what_is_queued_and_two_batches_stay_at_the_engine() -> None:
    plane = CheckedPlane()
    plane.up(embed_engine(max_batch_texts=8))
    assert dispatched(plane.submit(embed("a"))) == [("e1", ["a"])]
    assert dispatched(plane.submit(embed("b"), embed("c"))) == [("e1", ["b", "c"])]
    assert dispatched(plane.submit(*(embed(f"q{n}") for n in range(10)))) == []
    assert dispatched(plane.end("e1", "a")) == [("e1", [f"q{n}" for n in range(8)])]
    assert dispatched(plane.end("e1", "b")) == []
    assert dispatched(plane.end("e1", "c")) == [("e1", ["q8", "q9"])]


def test_a_batch_never_holds_more_texts_than_the_engine_embeds_best_unless_one_request_does() -> None:
    plane = CheckedPlane()
    plane.up(embed_engine(max_batch_texts=8))
    requests = (embed("five", 5), embed("four", 4), embed("three", 3), embed("twenty", 20), embed("one"))
    assert dispatched(plane.submit(*requests)) == [("e1", ["five"]), ("e1", ["four", "three"])]
    assert dispatched(plane.end("e1", "five")) == [("e1", ["twenty"])]
    assert dispatched(plane.end("e1", "four", "three")) == [("e1", ["one"])]


def test_cancelling_what_waits_answers_it_and_frees_its_place() -> None:
    plane = CheckedPlane(Plane(max_waiting=1))
    plane.up(chat_engine(max_running=1))
    plane.submit(chat("runs"), chat("waits"))
    assert aborted(plane.cancel("waits")) == []
    assert plane.outcome("waits") == RequestCancelled.code
    plane.submit(chat("next"))
    assert plane.outcome("next") == "open"


def test_cancelling_what_runs_answers_at_once_and_frees_the_slot_only_when_the_engine_confirms() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=1))
    plane.submit(chat("runs"), chat("waits"))
    commands = plane.cancel("runs")
    assert plane.outcome("runs") == RequestCancelled.code
    assert aborted(commands) == [("c1", ("runs",))]
    assert dispatched(commands) == []
    assert dispatched(plane.end("c1", "runs")) == [("c1", ["waits"])]
    assert plane.outcome("runs") == RequestCancelled.code


def test_cancelling_twice_or_what_has_ended_or_never_was_changes_nothing() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"), chat("b"))
    plane.end("c1", "a")
    plane.cancel("b")
    assert plane.cancel("a", "b", "never") == []


def test_one_cancel_may_name_a_request_twice() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"))
    commands = plane.handle(Cancelled((chat("a").id, chat("a").id)))
    assert aborted(commands) == [("c1", ("a",))]
    assert plane.outcome("a") == RequestCancelled.code


def test_the_earliest_deadline_is_woken_for_and_ends_what_waits_and_what_runs() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=1))
    assert wakes(plane.submit(chat("runs", timeout_s=5.0), chat("waits", timeout_s=3.0))) == [103.0]
    assert wakes(plane.wait(3.0)) == [105.0]
    assert plane.outcome("waits") == DeadlineExceeded.code
    assert "waited for an engine" in plane.failure("waits").what
    assert aborted(plane.wait(2.0)) == [("c1", ("runs",))]
    assert plane.outcome("runs") == DeadlineExceeded.code


def test_a_passed_deadline_counts_at_the_next_event_even_where_the_wake_up_is_late() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=1))
    plane.submit(chat("runs"), chat("waits", timeout_s=3.0))
    plane.now_s += 4.0
    assert dispatched(plane.end("c1", "runs")) == []
    assert plane.outcome("waits") == DeadlineExceeded.code


def test_a_later_deadline_orders_no_second_wake_up() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    assert wakes(plane.submit(chat("a", timeout_s=5.0))) == [105.0]
    assert wakes(plane.submit(chat("b", timeout_s=9.0))) == []
    assert wakes(plane.submit(chat("c", timeout_s=1.0))) == [101.0]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_deadline_that_has_passed_already_is_answered_without_an_engine(timeout_s: float) -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    assert dispatched(plane.submit(chat("a", timeout_s=timeout_s))) == []
    assert plane.outcome("a") == DeadlineExceeded.code


def test_a_second_request_of_an_id_in_use_is_refused_and_the_first_goes_on() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"))
    (answer,) = plane.submit(chat("a"))
    assert isinstance(answer, Answer)
    plane.answers.clear()
    plane.end("c1", "a")
    assert plane.outcome("a") == "finished"


def test_two_requests_of_one_id_in_one_event_are_one_request_and_one_refusal() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    commands = plane.submit(chat("a"), chat("a"))
    assert dispatched(commands) == [("c1", ["a"])]
    assert plane.outcome("a") == InvalidRequest.code
    plane.answers.clear()
    plane.end("c1", "a")
    assert plane.outcome("a") == "finished"


def test_an_id_is_free_again_once_its_request_has_ended() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"))
    plane.end("c1", "a")
    assert dispatched(plane.submit(chat("a"))) == [("c1", ["a"])]


def test_a_full_queue_refuses_with_a_time_to_retry_from_how_fast_it_drains() -> None:
    plane = CheckedPlane(Plane(max_waiting=10))
    plane.up(chat_engine(max_running=1))
    plane.submit(*(chat(f"r{n}") for n in range(11)))
    for n in range(20):  # one request leaves every half second and another comes
        plane.now_s += 0.5
        plane.end("c1", f"r{n}")
        plane.submit(chat(f"r{n + 11}"))
    plane.submit(chat("too-many"))
    assert plane.outcome("too-many") == Overloaded.code
    assert plane.failure("too-many").retry_after_s == pytest.approx(2.5, rel=0.2)


def test_a_queue_full_of_chat_does_not_refuse_what_an_idle_engine_could_embed() -> None:
    plane = CheckedPlane(Plane(max_waiting=2))
    plane.up(chat_engine(max_running=1))
    plane.up(embed_engine())
    plane.submit(chat("a"), chat("b"), chat("c"))
    assert dispatched(plane.submit(embed("text"))) == [("e1", ["text"])]


def test_a_burst_larger_than_the_queue_fills_the_engines_first() -> None:
    plane = CheckedPlane(Plane(max_waiting=3))
    plane.up(chat_engine(max_running=4))
    plane.submit(*(chat(f"r{n}") for n in range(8)))
    assert [plane.outcome(f"r{n}") for n in range(8)] == ["open"] * 7 + [Overloaded.code]


def test_the_models_served_are_those_of_engines_that_are_up() -> None:
    plane = CheckedPlane()
    plane.starting("c1", "chat")
    assert plane.plane.models() == ()
    plane.up(chat_engine())
    plane.up(chat_engine("c2"))
    plane.up(embed_engine())
    assert [card.name for card in plane.plane.models()] == ["chat", "embed"]
    plane.down("e1")
    assert [card.name for card in plane.plane.models()] == ["chat"]


def test_the_view_counts_what_waits_runs_and_has_ended() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=1))
    plane.up(embed_engine())
    plane.submit(chat("a"), chat("x", model="nothing"))
    plane.submit(chat("b", BATCH), chat("c", INTERACTIVE))
    plane.submit(embed("t1", 3), embed("t2", 2))
    plane.now_s += 2.0
    plane.end("c1", "a")
    view = plane.plane.view()
    assert (view.policy, view.num_waiting, view.num_running) == ("priority", 1, 3)
    assert [(w.model, w.service_class, w.num_waiting) for w in view.waiting] == [("chat", BATCH, 1)]
    assert [(e.model, e.outcome, e.num_ended) for e in view.ended] == [
        ("", UnknownModel.code, 1),
        ("chat", "finished", 1),
    ]
    chats, embeddings = view.engines
    assert (chats.state, chats.num_running, chats.num_requests, chats.completion_tokens) == ("ready", 1, 2, 5)
    assert (embeddings.num_batches, embeddings.num_texts, embeddings.num_running) == (1, 5, 2)
    assert view.batch_sizes == ((5, 1),)
    assert {w.service_class: w.waited_s for w in view.waited}[INTERACTIVE] == 2.0


def test_the_view_shows_engines_that_start_and_that_were_lost() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine("c1"))
    plane.starting("c2", "chat")
    plane.down("c1")
    assert [(e.engine_id, e.state) for e in plane.plane.view().engines] == [("c2", "starting"), ("c1", "lost")]


def test_when_to_try_again_is_by_what_ended_and_not_by_what_filled_the_engines() -> None:
    plane = CheckedPlane(Plane(max_waiting=20))
    plane.up(chat_engine(max_running=20))
    plane.submit(*(chat(f"r{n}") for n in range(40)))
    plane.submit(chat("none has ended"))
    assert plane.failure("none has ended").retry_after_s == 1.0
    plane.now_s += 10.0
    plane.end("c1", *(f"r{n}" for n in range(20)))
    plane.submit(*(chat(f"s{n}") for n in range(21)))
    assert plane.failure("s20").retry_after_s == pytest.approx(10.0 / 2, rel=0.4)
