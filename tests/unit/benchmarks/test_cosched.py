"""The measure of sharing a device: its figures, and one short turn on real engines."""

from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from benchmarks.cosched import AloneLimits as AloneLimits
from benchmarks.cosched import add_turn, kept_to, results_of
from benchmarks.cosched_figures import SetUpTurns, best_of, keeps_chat, percentile, ratio_of
from benchmarks.cosched_load import CoschedLoad, CoschedTurn, TurnSeen, arrivals_at, wait_ready
from cluster.serving.engines.launch import HostLink, launch
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import FromHost, Replies, Run, ToHost
from cluster.serving.engines.spec import spec_from_text
from sage.base.clock import SystemClock
from sage.base.ids import EngineId
from sage.base.inference import Embedded, Finished, Token, Usage

LIMITS = AloneLimits(10.0, 100.0, 1000.0)


def turns(gap_ms: float, work: float, *, texts_ms: float = 10.0, embedded: int = 100) -> SetUpTurns:
    made = SetUpTurns()
    for _ in range(4):
        seen = TurnSeen(1.0, [gap_ms] * 50, round(50 * work), embedded, [texts_ms] * 20)
        add_turn(made, seen, LIMITS)
    return made


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile(list(range(1, 101)), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([], 0.5) == 0.0


def test_the_work_of_a_turn_is_a_share_of_what_each_can_do_alone() -> None:
    made = SetUpTurns()
    add_turn(made, TurnSeen(2.0, [], 100, 1000, []), LIMITS)
    assert made.works == [0.5 + 0.5]
    assert made.embedding_tokens_per_s == 500.0


def test_the_best_separate_set_up_is_one_that_keeps_chat_where_any_does() -> None:
    alone = turns(10.0, 0.5)
    separate = {"fast_but_rude": turns(30.0, 2.0), "meek": turns(10.5, 0.7), "meeker": turns(10.0, 0.6)}
    assert not keeps_chat(separate["fast_but_rude"], alone)
    assert best_of(separate, alone) == "meek"
    del separate["meek"], separate["meeker"]
    separate["ruder"] = turns(60.0, 3.0)
    assert best_of(separate, alone) == "fast_but_rude", "the one nearest to it"


def test_an_interval_lies_around_its_ratio_and_is_the_same_for_the_same_seed() -> None:
    rng = Random(1)
    ours, theirs = [rng.uniform(1.2, 1.6) for _ in range(10)], [rng.uniform(0.9, 1.1) for _ in range(10)]
    ratio, low, high = ratio_of(ours, theirs, seed=3)
    assert low < ratio < high
    assert low > 1.0
    assert ratio_of(ours, theirs, seed=3) == (ratio, low, high)


def test_results_have_ours_against_the_best_of_the_others() -> None:
    seen = {"alone": turns(10.0, 0.5, embedded=0), "nice_0": turns(10.0, 0.5), "gated": turns(10.0, 0.5, embedded=400)}
    alone, nice, gated = results_of(seen, 0.5, 4, "closed loop", ours={"gated"}, seed=1)
    assert (alone.mode, nice.combined_ratio, gated.best_separate) == ("alone", None, "nice_0")
    assert gated.embedding_ratio == 4.0
    assert gated.combined_ratio == gated.combined_ratio_low == gated.combined_ratio_high
    assert gated.combined_ratio is not None
    assert gated.combined_ratio > 1.0


def test_with_targets_a_set_up_must_keep_both() -> None:
    seen = {"alone": turns(10.0, 0.5), "nice_0": turns(10.0, 0.5, texts_ms=200.0), "gated": turns(11.9, 0.5)}
    _, nice, gated = results_of(seen, 0.5, 4, "both with targets", ours={"gated"}, seed=1)
    assert (nice.keeps_chat, gated.keeps_chat) == (False, True)
    assert nice.embedding_p99_ms == 200.0


def test_arrivals_are_in_order_within_their_time_and_the_same_for_a_seed() -> None:
    arrivals = arrivals_at(50.0, 2.0, ["a", "b"], Random(4))
    assert arrivals == arrivals_at(50.0, 2.0, ["a", "b"], Random(4))
    assert 60 < len(arrivals) < 140
    assert [at_s for at_s, _ in arrivals] == sorted(at_s for at_s, _ in arrivals)


def test_processes_are_kept_to_cores_only_while_they_are_started() -> None:
    from os import sched_getaffinity

    before = sched_getaffinity(0)
    with kept_to([min(before)]):
        assert sched_getaffinity(0) == {min(before)}
    assert sched_getaffinity(0) == before


class QuickLink(HostLink):
    """A scripted host: what is asked is answered at once, so that it is read while the next is sent."""

    def __init__(self, model: str) -> None:
        self.engine_id, self.models = EngineId(model), (model,)
        self._answers: list[Token | Finished | Embedded] = []

    def fds(self) -> tuple[int, ...]:
        return ()

    def send(self, message: ToHost) -> bool:
        for request in message.requests if isinstance(message, Run) else ():
            self._answers += [Token(request.id, "a"), Token(request.id, "b")]
            self._answers.append(Finished(request.id, "stop", Usage(1, 2), self.engine_id))
        return True

    def drain(self) -> list[FromHost | HostLost]:
        came, self._answers = self._answers, []
        return [Replies(tuple(came))] if came else []


def test_what_comes_while_something_is_sent_counts() -> None:
    chat, embed = QuickLink("chat"), QuickLink("embed")
    load = CoschedLoad(tuple((0.0, "a prompt") for _ in range(3)))
    turn = CoschedTurn(chat, embed, load, [], 1, SystemClock(), Random(1))
    seen = turn.run(1e6, warm_s=0.0, until_tokens=(6, 0))  # it does not wait for more either
    assert (seen.chat_tokens, len(seen.gaps_ms)) == (6, 3)


@pytest.mark.engines
@pytest.mark.cluster
def test_a_turn_asks_both_hosts_and_leaves_nothing_open() -> None:
    clock = SystemClock()
    with ExitStack() as stack:
        chat, embed = launch(spec_from_text("openvino:smollm2")), launch(spec_from_text("openvino:minilm"))
        for link in (chat, embed):
            stack.callback(link.close, 5.0)
        wait_ready([chat, embed], clock)
        load = CoschedLoad(tuple((0.0, f"Count to {number}: one, two,") for number in range(3)), is_embedding=True)
        passages = ["a short text", "a longer text " * 40]
        seen = CoschedTurn(chat, embed, load, passages, 1, clock, Random(1)).run(
            20.0, warm_s=0.0, until_tokens=(20, 500)
        )
        assert seen.chat_tokens >= 20
        assert seen.embedding_tokens >= 500
        assert seen.gaps_ms
    assert not Path(f"/proc/{chat.pid}").exists()
