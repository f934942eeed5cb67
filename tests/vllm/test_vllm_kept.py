"""Real vLLM on CPUs with little memory for keys and values: what the plane believes it keeps is what it finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.serving.kept_exactly import KeptExactly
from cluster.serving.route import Router
from cluster.serving.routes import route_named
from cluster.serving.size import BLOCK_BYTES, TextSizing
from cluster.serving.ticket import Ticket, lane_of, ticket_for
from sage.base.ids import RequestId
from sage.base.inference import Finished, GenerateRequest, Sampling, Usage
from tests.contract.driven import Hosted, answer
from tests.vllm.server import VllmServer, python_with, vllm_servers

pytestmark = [pytest.mark.vllm, pytest.mark.alone, pytest.mark.timeout(900)]

HITS = "vllm:prefix_cache_hits_total"
BLOCK_TOKENS = 128  # of vLLM on CPUs
NUM_BLOCKS = 40
LEN_STORY = 4 * BLOCK_BYTES
ORDER = (0, 1, 0, 2, 3, 0, 4, 5, 1, 0, 6, 4, 2, 0)
"""Of stories, of which about four are kept at once."""


@pytest.fixture(scope="module")
def small(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    python = python_with(tmp_path_factory.mktemp("small"), "--num-gpu-blocks-override", str(NUM_BLOCKS))
    with vllm_servers(checkpoint, ",context_tokens=4096", python=python) as (server,):
        yield server


class Belief:
    """What a plane believes of one engine."""

    def __init__(self, engine: Hosted) -> None:
        self._router, self._engine = Router(route_named("auto", TextSizing())), engine
        self._account = self._router.add(engine.info)
        self._kept = KeptExactly()
        self._num_told = 0

    def told(self) -> None:
        """Take what the engine told of since it was taken last."""
        for kept in self._engine.kept[self._num_told :]:
            self._router.saw(self._engine.info.engine_id, kept, 0.0)
            self._kept.told(self._engine.info.engine_id, kept)
        self._num_told = len(self._engine.kept)

    def is_told_of(self, ticket: Ticket) -> bool:
        """Say whether the engine told that it keeps all blocks of a prompt."""
        prefix, engine_id = TextSizing().prefix(ticket.request), self._engine.info.engine_id
        return self._kept.tells(engine_id) and self._kept.tokens(prefix, engine_id) == prefix.ends_tokens[-1]

    def cached_share(self, ticket: Ticket) -> float:
        return 1 - self._router.uncached_tokens(ticket, self._account) / ticket.size.prompt_tokens

    def asked(self, ticket: Ticket) -> None:
        self._router.charge(self._account, [ticket], 0.0)
        engine_id, usage = self._account.info.engine_id, Usage(ticket.size.prompt_tokens, 1)
        self._router.release(self._account, [Finished(ticket.request.id, "stop", usage, engine_id)], 1.0)
        self._router.settle()


def prompt(name: str, text: str) -> Ticket:
    request = GenerateRequest(RequestId(name), "tiny", text, Sampling(1))
    return ticket_for(request, lane_of(request), 0, 0.0, TextSizing().size(request))


def story(number: int) -> str:
    return (f"{number} " + f"and {number} words more " * LEN_STORY)[:LEN_STORY]


def test_what_is_believed_to_be_kept_is_what_vllm_finds(small: VllmServer) -> None:
    engine, belief = small.engine, Belief(small.engine)
    texts = [story(number) for number in ORDER]
    texts += [texts[-1][: LEN_STORY // 2] + story(7)[: LEN_STORY // 2]]
    hits_before = small.metric(HITS)
    found: list[int] = []
    for number, text in enumerate(texts):
        ticket = prompt(f"p{number}", text)
        believed = belief.cached_share(ticket)
        usage = answer(engine, [ticket.request]).finished(ticket.request.id).usage
        belief.asked(ticket)
        while not belief.is_told_of(ticket):
            engine.hear()
            belief.told()
        found.append(usage.cached_tokens)
        near = BLOCK_TOKENS + usage.prompt_tokens * BLOCK_BYTES / LEN_STORY  # a block of each kind
        assert abs(believed * usage.prompt_tokens - found[-1]) <= near, (number, believed, usage)
    assert small.metric(HITS) - hits_before == sum(found)
    came_before = [text in texts[:number] for number, text in enumerate(texts)]
    was_dropped = [before and not tokens for before, tokens in zip(came_before, found, strict=True)]
    assert any(was_dropped), "what it was given is more than it keeps"
    assert 0 < found[-1] < found[-2], "of the last prompt it had the beginning"
