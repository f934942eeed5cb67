"""Policies side by side over engines that run: what is asked, what comes of it, and which figures that makes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.cli import app
from benchmarks.live_figures import LiveResult, Objectives, SetupTurns, live_results, objectives_of
from benchmarks.live_turn import LiveTurn
from benchmarks.live_wanted import LiveSetup, LiveWanted, setup_from_text
from benchmarks.policies_wanted import TraceName
from benchmarks.replay import chat_request
from benchmarks.replay_figures import ReplayedCall
from benchmarks.simulator.arrival import Arrival, trace_of
from sage.base.errors import ConfigInvalid, InternalError, Overloaded
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Finished, ModelCard, ReplyTo, Request, Token, Usage
from sage.cli import run_command

OURS, THEIRS = setup_from_text("hybrid+auto+adaptive"), setup_from_text("fifo+least_work+fixed")
WANTED = LiveWanted(TraceName.GENERATED, "simulated:h100,model=sim", 2, (OURS, THEIRS), (2.0,))
MET = Objectives(0.5, 0.001, 0.1)


def call(first_s: float, *, prompt_tokens: int = 100, token_s: float = 0.05, why: str | None = None) -> ReplayedCall:
    """Return a request of three tokens that was answered, or failed."""
    arrival = Arrival(0.0, prompt_tokens, 3)
    if why is not None:
        return ReplayedCall(arrival, end_s=first_s, why=why)
    end_s = first_s + 2 * token_s
    return ReplayedCall(arrival, piece_s=[first_s], end_s=end_s, usage=Usage(prompt_tokens, 3, 50))


@pytest.mark.parametrize("text", ["hybrid", "hybrid+auto", "hybrid+auto+wide", "+auto+fixed", "a+b+fixed+c"])
def test_what_names_no_set_up_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="POLICY\\+ROUTE\\+WINDOW"):
        setup_from_text(text)


def test_good_is_what_came_in_time_for_its_prompt_and_went_on_so() -> None:
    assert MET.is_met(call(0.6))
    assert not MET.is_met(call(0.61))
    assert MET.is_met(call(0.61, prompt_tokens=200))
    assert not MET.is_met(call(0.1, token_s=0.11))
    assert not MET.is_met(call(0.1, why="Overloaded"))


def test_where_prompts_of_all_lengths_take_as_long_the_longest_counts() -> None:
    met = objectives_of([call(0.3, prompt_tokens=100), call(0.1, prompt_tokens=900)], 2.0)
    assert [met.first_s, met.prompt_token_s, met.token_s] == pytest.approx([0.6, 0.0, 0.1])


def results(ours: list[list[ReplayedCall]], theirs: list[list[ReplayedCall]]) -> tuple[LiveResult, LiveResult]:
    """Return the first set-up's result and the other's."""
    turns: dict[tuple[float, LiveSetup], SetupTurns] = {
        (2.0, OURS): SetupTurns(ours, 400.0, 100.0, [0.0]),
        (2.0, THEIRS): SetupTurns(theirs, lags_s=[0.001]),
    }
    first, other = live_results(WANTED, turns, MET, kind="vllm", simulated=False, full_requests_per_s=5.0)
    return first, other


def test_set_ups_are_compared_round_by_round() -> None:
    good, late, refused = call(0.1), call(2.0), call(0.0, why="Overloaded")
    first, other = results([[good, good], [good, late]], [[good, late], [good, refused]])
    assert (first.goodput_requests, other.goodput_requests, first.prefix_hit) == (0.75, 0.5, 0.25)
    assert (other.refused, other.errors, other.prefix_hit) == (0.25, {"Overloaded": 1}, None)
    assert first.ours_by_this_requests is None
    assert other.ours_by_this_requests == pytest.approx(2**0.5, abs=1e-3)
    assert other.ours_by_this_requests_low is not None
    assert other.ours_by_this_requests_low < 2**0.5


def test_against_nothing_good_nothing_is_compared() -> None:
    _, other = results([[call(0.1)]], [[call(9.0)]])
    assert (other.goodput_requests, other.ours_by_this_requests) == (0.0, None)


def test_whole_conversations_are_drawn() -> None:
    arrivals = [Arrival(float(n), 100, 10, session=n % 10) for n in range(100)]
    drawn = trace_of("t", arrivals).drawn(30, seed=1).arrivals
    assert len(drawn) == 30
    assert len({arrival.session for arrival in drawn}) == 3
    assert drawn[0].at_s == 0.0
    assert list(drawn) == sorted(drawn, key=lambda arrival: arrival.at_s)
    assert len(trace_of("t", [Arrival(0.0, 1, 1)] * 5).drawn(3, seed=1).arrivals) == 3


class AnswersAtOnce:
    """An Inference that answers each request, or refuses it, at once; with two ends where it is told to."""

    def __init__(self, *, num_ends: int = 1) -> None:
        self._num_ends = num_ends

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        for request in requests:
            if request.id == "no":
                reply_to([Failed(request.id, Failure.of(Overloaded("full", retry_after_s=1.0)))])
                continue
            reply_to([Token(request.id, "one")])
            reply_to([Finished(request.id, "stop", Usage(4, 1), EngineId("e"))] * self._num_ends)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        raise AssertionError(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return ()


async def test_each_request_of_a_turn_leaves_at_its_time_and_what_came_of_it_is_noted() -> None:
    times = (("yes", 0.0), ("no", 0.02))
    asked = [(ReplayedCall(Arrival(at_s, 4, 1)), chat_request(name, "m", "hi", 1)) for name, at_s in times]
    took_s = await LiveTurn(AnswersAtOnce(), asked).run()
    (answered, _), (refused, _) = asked
    assert answered.is_answered
    assert (answered.num_tokens, refused.why) == (1, "Overloaded")
    assert took_s >= refused.sent_s >= 0.02


async def test_a_second_end_is_an_error_of_ours() -> None:
    asked = [(ReplayedCall(Arrival(0.0, 4, 1)), chat_request("yes", "m", "hi", 1))]
    with pytest.raises(InternalError, match="ended twice"):
        await LiveTurn(AnswersAtOnce(num_ends=2), asked).run()


@pytest.mark.cluster
def test_set_ups_take_turns_over_engines_that_run(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    asked = ["live", "generated", "--engine", "simulated:h100,model=sim", "--requests", "24", "--warm", "4"]
    asked += ["--lengths", "0.02", "--rounds", "2", "--load", "2", "--setup", str(OURS), "--setup", str(THEIRS)]
    assert run_command(app, "sage-benchmark", [*asked, "--json", str(target)]) == 0
    ours, theirs = json.loads(target.read_text())["results"]
    assert [each["checked"] and each["simulated"] and each["n"] == 20 for each in (ours, theirs)] == [True, True]
    assert (ours["policy"], ours["route"], ours["prompts"]) == ("hybrid", "auto", "adaptive")
    assert len(theirs["seeds"]["goodput_tokens"]) == 2
    assert ours["goodput_requests"] > 0.0
    assert ours["due_first_ms"] > 0.0


def test_a_trace_of_calls_that_follow_one_another_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["live", "agent-graphs"]) == 1
    assert "follow one another" in capsys.readouterr().err


def test_an_engine_that_answers_no_chat_is_refused_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["live", "generated", "--engine", "openvino:minilm"]) == 1
    said = capsys.readouterr().err
    assert "'openvino:minilm' answers no chat" in said
    assert "start" not in said
