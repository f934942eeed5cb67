"""What a look at a simulated engine brings, in virtual time. Knows no server."""

from collections.abc import Sequence

from benchmarks.calibrate_probe import Probed, Together
from benchmarks.replay_figures import ReplayedCall
from benchmarks.simulator.arrival import Arrival
from cluster.serving.engines.cost import CostModel
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.simulated_content import BYTES_PER_TOKEN
from sage.base.clock import ManualClock
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Finished, GenerateRequest, Kind, Sampling, Token, Usage

LENGTHS = (40, 57, 80, 113, 160, 226, 320, 453, 640, 905)


def called(lengths: Sequence[int], answer_tokens: int, costs: CostModel, *, slower: float = 1.0) -> list[ReplayedCall]:
    """Return what becomes of prompts of such lengths that come at once; everything takes `slower` times as long."""
    clock = ManualClock()
    engine = SimulatedEngine(EngineId("e"), "m", costs, clock, kinds=(Kind.GENERATE,), context_tokens=1 << 20)
    calls = [ReplayedCall(Arrival(0.0, length, answer_tokens)) for length in lengths]
    engine.add(
        [
            GenerateRequest(RequestId(str(number)), "m", "x" * (BYTES_PER_TOKEN * length), Sampling(answer_tokens))
            for number, length in enumerate(lengths)
        ]
    )
    while engine.has_work():
        for reply in engine.step():
            call = calls[int(reply.request_id)]
            match reply:
                case Token():
                    call.piece_s.append(slower * clock.monotonic_s())
                case Finished(usage=usage):
                    call.end_s, call.usage = slower * clock.monotonic_s(), usage
                case _:
                    raise AssertionError(reply)
        clock.advance(engine.due_in_s() or 0.0)
    return calls


def look_at(costs: CostModel, *, slower: float = 1.0, lengths: Sequence[int] = LENGTHS, most: int = 32) -> Probed:
    """Return what a look brings at an engine of these costs, which keeps nothing of prompts."""

    def asked(lengths: Sequence[int], answer_tokens: int) -> tuple[ReplayedCall, ...]:
        return tuple(called(lengths, answer_tokens, costs, slower=slower))

    sizes = [1 << power for power in range(most.bit_length())]
    return Probed(
        prompts=tuple(asked([length], 1)[0] for length in lengths),
        again=tuple(asked([length], 1)[0] for length in lengths),
        twice=asked([lengths[-1] // 2] * 2, 1),
        together=tuple(Together(number, asked([40] * number, 64)) for number in sizes),
        long=Together(4, asked([lengths[-1] // 2] * 4, 64)),
    )


def kept(calls: Sequence[ReplayedCall], cached_tokens: int | None, first_s: float) -> tuple[ReplayedCall, ...]:
    """Return calls of which so many tokens were kept, as the server says or (None) does not, with the first after
    `first_s`."""
    found: list[ReplayedCall] = []
    for call in calls:
        assert call.usage is not None
        usage = Usage(call.usage.prompt_tokens, call.usage.completion_tokens, cached_tokens or 0)
        found.append(ReplayedCall(call.arrival, piece_s=[first_s], end_s=first_s, usage=usage))
    return tuple(found)
