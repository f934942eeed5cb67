"""Equal texts are asked once, and each request gets the vectors of its own texts, whatever becomes of the others."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.serving.engines.simulated_content import hash_vector
from cluster.serving.shared_texts import MAX_SHARERS, SharedTexts, TextOrders, tokens_of_texts
from cluster.serving.vector_cache import VectorCache
from sage.base.errors import (
    DeadlineExceeded,
    EngineLost,
    InternalError,
    InvalidRequest,
    RequestCancelled,
    RequestFailed,
)
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    MAX_SCORE_PAIRS,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    Last,
    ScoreRequest,
    ServiceClass,
    TextsRequest,
    Usage,
)

DIM = 4
ENGINE = EngineId("e1")
INTERACTIVE, STANDARD, BATCH = ServiceClass.INTERACTIVE, ServiceClass.STANDARD, ServiceClass.BATCH


def request(
    id: str,
    *texts: str,
    tenant: str = "default",
    service_class: ServiceClass = STANDARD,
    timeout_s: float | None = None,
) -> EmbedRequest:
    return EmbedRequest(RequestId(id), "embed", texts, service_class, tenant, timeout_s)


def answer(asked: TextsRequest) -> Embedded:
    """Answer as an engine would: a text has as many tokens as letters."""
    vectors = b"".join(hash_vector(text, DIM) for text in asked.texts)
    tokens = tuple(map(len, asked.texts))
    return Embedded(asked.id, vectors, DIM, Usage(prompt_tokens=sum(tokens)), ENGINE, tokens)


def failed(asked: TextsRequest, what: str = "lost") -> Failed:
    return Failed(asked.id, Failure.of(EngineLost(what)))


class Bench:
    """Holds the machine, checks it after every call, and keeps what came out."""

    def __init__(self, cache_bytes: int = 0) -> None:
        self.texts = SharedTexts(VectorCache(cache_bytes))
        self.now_s = 10.0
        self.asked: list[TextsRequest] = []
        self.cancels: list[str] = []
        self.ended: dict[str, Last] = {}

    def ask(self, *args: TextsRequest) -> "Bench":
        for one in args:
            self._take(self.texts.submitted(one, self.now_s))
        return self

    def answer(self, last: Last) -> None:
        self._take(self.texts.ended(last, self.now_s))

    def cancel(self, id: str) -> None:
        outcome = self.texts.cancelled(RequestId(id))
        assert outcome is not None
        self._take(outcome)

    def _take(self, outcome: TextOrders) -> None:
        self.texts.check()
        self.asked.extend(outcome.asks)
        self.cancels.extend(outcome.cancels)
        for last in outcome.ended:
            assert last.request_id not in self.ended, "answered once"
            self.ended[last.request_id] = last

    def vectors(self, id: str) -> list[bytes]:
        last = self.ended[id]
        assert isinstance(last, Embedded), last
        return [last.vectors[at : at + 4 * DIM] for at in range(0, len(last.vectors), 4 * DIM)]

    def error(self, id: str) -> str:
        last = self.ended[id]
        assert isinstance(last, Failed), last
        return last.failure.code


def vectors_of(texts: Sequence[str]) -> list[bytes]:
    return [hash_vector(text, DIM) for text in texts]


def test_what_was_asked_before_models_changed_is_neither_shared_nor_kept() -> None:
    bench = Bench(cache_bytes=10_000).ask(request("old", "a"))
    bench.texts.forget()
    bench.ask(request("new", "a"))
    assert [one.texts for one in bench.asked] == [("a",), ("a",)]
    bench.answer(answer(bench.asked[0]))
    assert isinstance(bench.ended["old"], Embedded)
    assert "new" not in bench.ended
    assert len(bench.texts.cache) == 0
    bench.answer(answer(bench.asked[1]))
    assert isinstance(bench.ended["new"], Embedded)
    assert len(bench.texts.cache) == 1


def test_equal_texts_of_one_request_are_asked_once_and_scattered_in_order() -> None:
    bench = Bench().ask(request("a", "x", "yy", "x", "zzz"))
    assert [one.texts for one in bench.asked] == [("x", "yy", "zzz")]
    bench.answer(answer(bench.asked[0]))
    assert bench.vectors("a") == vectors_of(["x", "yy", "x", "zzz"])
    assert bench.ended["a"] == Embedded(
        RequestId("a"), b"".join(vectors_of(["x", "yy", "x", "zzz"])), DIM, Usage(7, cached_tokens=1), ENGINE
    )


def test_a_text_that_is_being_asked_is_not_asked_again() -> None:
    bench = Bench().ask(request("a", "x", "yy"), request("b", "yy", "zzz"), request("c", "x"))
    assert [one.texts for one in bench.asked] == [("x", "yy"), ("zzz",)]
    bench.answer(answer(bench.asked[0]))
    assert set(bench.ended) == {"a", "c"}
    bench.answer(answer(bench.asked[1]))
    assert bench.vectors("b") == vectors_of(["yy", "zzz"])
    last = bench.ended["b"]
    assert isinstance(last, Embedded)
    assert last.usage == Usage(prompt_tokens=5, cached_tokens=2)
    (view,) = bench.texts.view()
    assert (view.num_embedded, view.num_cached, view.num_shared) == (3, 0, 2)


def test_nothing_is_shared_between_tenants() -> None:
    bench = Bench(10_000).ask(request("a", "x", tenant="ann"), request("b", "x", tenant="bob"))
    assert len(bench.asked) == 2
    bench.answer(answer(bench.asked[0]))
    bench.ask(request("c", "x", tenant="carl"))
    assert len(bench.asked) == 3


def test_a_text_embedded_before_is_answered_at_once() -> None:
    bench = Bench(10_000).ask(request("a", "x", "yy"))
    bench.answer(answer(bench.asked[0]))
    bench.ask(request("b", "yy", "x"))
    assert len(bench.asked) == 1
    assert bench.vectors("b") == vectors_of(["yy", "x"])
    last = bench.ended["b"]
    assert isinstance(last, Embedded)
    assert last.usage == Usage(prompt_tokens=3, cached_tokens=3)


def test_an_urgent_request_does_not_wait_for_a_patient_one() -> None:
    bench = Bench().ask(request("a", "x", service_class=BATCH), request("b", "x", service_class=INTERACTIVE))
    assert [one.service_class for one in bench.asked] == [BATCH, INTERACTIVE]
    bench.ask(request("c", "x", service_class=BATCH))
    assert len(bench.asked) == 2, "the urgent one brings it sooner"


def test_a_request_waits_only_on_one_that_is_over_before_its_own_deadline() -> None:
    bench = Bench().ask(request("a", "x"), request("b", "x", timeout_s=1.0), request("c", "x", timeout_s=2.0))
    assert [one.id for one in bench.asked] == ["a", "b"]


def test_who_shared_with_one_that_failed_asks_for_itself() -> None:
    bench = Bench().ask(request("a", "x", "yy"), request("b", "yy"), request("c", "x", "yy"))
    bench.answer(failed(bench.asked[0]))
    assert bench.error("a") == EngineLost.code
    assert [(one.id, one.texts) for one in bench.asked[1:]] == [("c/1", ("x", "yy")), ("b/1", ("yy",))]
    for one in bench.asked[1:]:
        bench.answer(answer(one))
    assert bench.vectors("c") == vectors_of(["x", "yy"])
    assert bench.vectors("b") == vectors_of(["yy"])


def test_who_asked_for_itself_and_failed_again_is_told_so() -> None:
    bench = Bench().ask(request("a", "x"), request("b", "x"))
    bench.answer(failed(bench.asked[0]))
    bench.answer(failed(bench.asked[1]))
    assert bench.error("b") == EngineLost.code


def test_one_past_its_deadline_does_not_ask_again() -> None:
    bench = Bench().ask(request("a", "x", timeout_s=1.0), request("b", "x", timeout_s=1.5))
    bench.now_s += 2.0
    bench.answer(failed(bench.asked[0]))
    assert bench.error("b") == DeadlineExceeded.code
    assert len(bench.asked) == 1


def test_one_that_asks_again_has_the_time_that_is_left() -> None:
    bench = Bench().ask(request("a", "x", timeout_s=1.0), request("b", "x", timeout_s=3.0))
    bench.now_s += 1.0
    bench.answer(failed(bench.asked[0]))
    assert bench.asked[1].timeout_s == pytest.approx(2.0)


def test_a_cancelled_request_is_stopped_where_nobody_shares_it() -> None:
    bench = Bench().ask(request("a", "x"))
    bench.cancel("a")
    assert bench.error("a") == RequestCancelled.code
    assert bench.cancels == ["a"]
    bench.answer(failed(bench.asked[0], "cancelled"))
    assert set(bench.ended) == {"a"}


def test_what_others_wait_for_goes_on_when_its_asker_leaves() -> None:
    bench = Bench().ask(request("a", "x"), request("b", "x"))
    bench.cancel("a")
    assert bench.cancels == []
    bench.answer(answer(bench.asked[0]))
    assert bench.vectors("b") == vectors_of(["x"])


def test_what_was_asked_for_another_is_stopped_once_the_last_who_waits_for_it_leaves() -> None:
    bench = Bench().ask(request("a", "x"), request("b", "x", "x"), request("c", "x"))
    for id in ("a", "b"):
        bench.cancel(id)
    assert bench.cancels == []
    bench.cancel("c")
    assert bench.cancels == ["a"]


def test_an_id_in_use_is_refused_and_one_that_is_over_may_come_again() -> None:
    bench = Bench().ask(request("a", "x"))
    refusal = bench.texts.refusal(request("a", "y"))
    assert refusal is not None
    assert refusal.failure.code == InvalidRequest.code
    bench.answer(answer(bench.asked[0]))
    assert bench.texts.refusal(request("a", "y")) is None


def test_cancelling_an_unknown_request_is_for_others_to_answer() -> None:
    assert Bench().texts.cancelled(RequestId("nobody")) is None


def test_an_answer_of_another_length_or_kind_fails_its_asker() -> None:
    bench = Bench().ask(request("a", "x", "y"), request("b", "z"))
    bench.answer(Embedded(RequestId("a"), bytes(4 * DIM), DIM, Usage(2), ENGINE))
    bench.answer(Finished(RequestId("b"), "stop", Usage(), ENGINE))
    assert [bench.error(id) for id in "ab"] == [InternalError.code] * 2


def test_vectors_of_two_lengths_are_no_answer() -> None:
    bench = Bench().ask(request("a", "x"), request("b", "x", "y"))
    bench.answer(answer(bench.asked[0]))
    tokens = Usage(prompt_tokens=1)
    bench.answer(Embedded(bench.asked[1].id, bytes(4 * (DIM + 1)), DIM + 1, tokens, EngineId("another")))
    assert bench.error("b") == RequestFailed.code


def test_a_crowd_behind_one_text_is_bounded() -> None:
    bench = Bench().ask(*(request(f"r{number}", "x") for number in range(MAX_SHARERS + 2)))
    assert len(bench.asked) == 2


def test_where_the_engine_does_not_tell_tokens_are_shared_out_by_length() -> None:
    last = Embedded(RequestId("a"), b"", 0, Usage(prompt_tokens=7), ENGINE)
    assert tokens_of_texts(last, ("", "")) == (0, 0) or sum(tokens_of_texts(last, ("ab", "c"))) == 7
    assert sum(tokens_of_texts(last, ("ab", "c", "defg"))) == 7


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2000))
def test_each_request_ends_once_with_its_own_vectors_whatever_happens(seed: int, cache_bytes: int) -> None:
    rng, bench = random.Random(seed), Bench(cache_bytes)
    wanted: dict[str, EmbedRequest] = {}
    pending: list[TextsRequest] = []
    for number in range(60):
        seen = len(bench.asked)
        match rng.randrange(4):
            case 0 | 1:
                texts = [rng.choice("abcdef") * rng.randint(1, 2) for _ in range(rng.randint(1, 4))]
                urgency, timeout_s = rng.choice(list(ServiceClass)), rng.choice([None, 1.0, 2.0])
                one = request(f"r{number}", *texts, service_class=urgency, timeout_s=timeout_s, tenant=rng.choice("tu"))
                wanted[one.id] = one
                bench.ask(one)
            case 2 if pending:
                asked = pending.pop(rng.randrange(len(pending)))
                bench.answer(answer(asked) if rng.random() < 0.6 else failed(asked))
            case _:
                open_ids = sorted(wanted.keys() - bench.ended.keys())
                if open_ids and rng.random() < 0.4:
                    bench.cancel(rng.choice(open_ids))
        bench.now_s += rng.random() / 4
        pending.extend(bench.asked[seen:])
    while pending:
        seen = len(bench.asked)
        bench.answer(answer(pending.pop()))
        pending.extend(bench.asked[seen:])
    assert bench.ended.keys() == wanted.keys()
    for id, one in wanted.items():
        if isinstance(bench.ended[id], Embedded):
            assert bench.vectors(id) == vectors_of(one.texts)


def pairs(id: str, query: str, *texts: str, tenant: str = "default") -> ScoreRequest:
    return ScoreRequest(RequestId(id), "judge", query, texts, STANDARD, tenant)


def test_a_pair_is_known_by_both_its_texts_its_tenant_and_what_is_asked() -> None:
    bench = Bench(cache_bytes=10_000).ask(pairs("a", "q", "x", "y"))
    bench.answer(answer(bench.asked[0]))
    bench.ask(pairs("b", "q", "y"), pairs("c", "p", "y"), pairs("d", "q", "y", tenant="other"), request("e", "y"))
    assert bench.vectors("b") == vectors_of(["y"])
    assert [one.id for one in bench.asked[1:]] == ["c", "d", "e"]


def test_many_pairs_go_to_engines_in_parts_and_come_back_in_order() -> None:
    texts = [f"text {number}" for number in range(2 * MAX_SCORE_PAIRS + 3)]
    bench = Bench().ask(pairs("a", "q", *texts))
    assert [(one.id, len(one.texts)) for one in bench.asked] == [("a", 32), ("a/2", 32), ("a/3", 3)]
    assert {one.part_of for one in bench.asked} == {"a"}
    for one in reversed(bench.asked):
        assert "a" not in bench.ended
        bench.answer(answer(one))
    assert bench.vectors("a") == vectors_of(texts)
    last = bench.ended["a"]
    assert isinstance(last, Embedded)
    assert last.usage.prompt_tokens == sum(map(len, texts))


def test_when_a_part_fails_the_rest_is_stopped_unless_others_wait_for_it() -> None:
    texts = [f"text {number}" for number in range(3 * MAX_SCORE_PAIRS)]
    bench = Bench().ask(pairs("a", "q", *texts), pairs("b", "q", texts[-1]))
    bench.answer(failed(bench.asked[0]))
    assert bench.error("a") == EngineLost.code
    assert bench.cancels == ["a/2"]
    bench.answer(answer(bench.asked[2]))
    assert bench.vectors("b") == vectors_of([texts[-1]])
