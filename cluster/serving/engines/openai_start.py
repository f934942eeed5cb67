"""Find an OpenAI-compatible server and what it serves, and make an engine of it. Knows no process."""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cluster.serving.engines.loop_thread import LoopThread
from cluster.serving.engines.openai_engine import OpenaiEngine
from cluster.serving.engines.openai_upstream import Unreachable, Upstream
from cluster.serving.engines.openai_wire import ListedModel, listed_model
from cluster.serving.engines.port import EngineInfo
from cluster.serving.engines.server_process import ServerProcess
from cluster.serving.engines.spec import EngineSpec
from sage.base.errors import ConfigInvalid, EngineStartFailed, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import TEXT_KINDS, EmbedRequest, Kind, ModelCard, ScoreRequest
from sage.base.log import get_log

APPEAR_S = 20.0  # a server that is started anew may take as long to listen
_PAUSE_S = 0.25
_START_S = 60.0
_MAX_BATCH_TEXTS = 32
_SHOWN_NAMES = 8
_SHOWN_LETTERS = 80


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and how it is asked; `environ` holds its key under `key_env`.

    `process`: the server itself, where it is ours: it is lost as soon as that ends, and ended with the engine.
    `kv_addresses`: where it publishes what it keeps of prompts, and where it does so again, if it does.
    """

    url: str
    key_env: str
    environ: Mapping[str, str]
    device: str
    process: ServerProcess | None = None
    kv_addresses: tuple[str, str] | None = None


def openai_engine(spec: EngineSpec, engine_id: EngineId, *, appear_s: float = APPEAR_S) -> OpenaiEngine:
    """Return the engine once the server at `spec.target` answers; one that nobody runs is waited for.

    Raises: EngineStartFailed, ConfigInvalid where something must be said that the server does not tell, ExtraMissing.
    """
    server = Server(spec.target, spec.server.key_env, os.environ, spec.target)
    return engine_of_server(spec, engine_id, server, appear_s=appear_s)


def engine_of_server(
    spec: EngineSpec, engine_id: EngineId, server: Server, *, appear_s: float = APPEAR_S
) -> OpenaiEngine:
    """Return the engine once `server` answers, which it owns if it is ours; raises as `openai_engine`."""
    thread = LoopThread(f"http of {engine_id}")
    try:
        upstream, info = thread.ask(_found(spec, engine_id, server, appear_s), _START_S)
    except TimeoutError as error:
        thread.close()
        raise EngineStartFailed(f"{server.url} does not answer", "Look at the server.") from error
    except BaseException:
        thread.close()
        raise
    return OpenaiEngine(info, upstream, thread, server.process, kv_addresses=server.kv_addresses)


async def _found(spec: EngineSpec, engine_id: EngineId, server: Server, appear_s: float) -> tuple[Upstream, EngineInfo]:
    upstream = Upstream(
        server.url, key_env=server.key_env, max_silence_s=spec.server.max_silence_s, environ=server.environ
    )
    try:
        all_listed = await _listed(upstream, appear_s)
        listed = _model(all_listed, spec, server.url)
        dim = await _dim(upstream, spec) if Kind.EMBED in spec.kinds else None
        if Kind.SCORE in spec.kinds and dim is None:  # what embeds scores by its vectors
            await _check_scores(upstream, spec)
        card = ModelCard(spec.model, spec.kinds, _context_tokens(spec, listed), dim)
        adapters = _adapters(card, all_listed, spec.adapters.names, server.url)
    except BaseException:
        await upstream.close()
        raise
    upstream.serves_as(engine_id)
    texts = 0 if set(spec.kinds).isdisjoint(TEXT_KINDS) else _MAX_BATCH_TEXTS
    return upstream, EngineInfo(
        engine_id,
        spec.kind,
        server.device,
        listed.simulated,
        (card, *adapters),
        spec.server.max_running,
        texts,
        gives_back=spec.server.gives_back,
        adapter_slots=spec.adapters.slots,
    )


def _adapters(card: ModelCard, listed: Iterable[ListedModel], names: Sequence[str], where: str) -> list[ModelCard]:
    """Return the adapters that were named, which the server must list. What else it lists is not offered: a server
    would get what is meant for other engines by listing the names of their models."""
    found = {each.id for each in listed if each.parent == card.name}
    for name in names:
        if name not in found:
            what = f"{where} lists no adapter {name!r} of {card.name!r}"
            raise EngineStartFailed(what, f"It lists: {_shown(found) or 'none'}.", param="adapter")
    if others := found.difference(names):
        do = "name those that are to be offered: adapter=NAME"
        get_log().info("adapters not offered", server=where, number=len(others), some=_shown(others), do=do)
    answers = tuple(kind for kind in card.kinds if kind not in TEXT_KINDS)
    return [ModelCard(name, answers, card.context_tokens, parent=card.name) for name in names]


def _shown(names: Iterable[str]) -> str:
    """Return some of the names that a server made up, so that they can be printed."""
    return ", ".join(repr(name[:_SHOWN_LETTERS]) for name in sorted(names)[:_SHOWN_NAMES])


def _model(listed: Sequence[ListedModel], spec: EngineSpec, where: str) -> ListedModel:
    try:
        return listed_model(listed, spec.model, where)
    except SageError as error:
        raise EngineStartFailed(error.what, error.do) from error


async def _listed(upstream: Upstream, appear_s: float) -> list[ListedModel]:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + appear_s
    while True:  # a server elsewhere tells nobody that it has begun to listen: it is asked again and again
        try:
            return await upstream.all_listed()
        except Unreachable as error:
            if loop.time() > until_s:
                raise EngineStartFailed(error.what, error.do) from error
        except SageError as error:
            raise EngineStartFailed(error.what, error.do) from error
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(upstream.closed.wait(), _PAUSE_S)


async def _dim(upstream: Upstream, spec: EngineSpec) -> int:
    """Return how long the vectors are: seen from one, so that what does not embed is found now."""
    try:
        vectors, _ = await upstream.embed(EmbedRequest(RequestId("start"), spec.model, ("start",)), None)
    except SageError as error:
        raise EngineStartFailed(f"{spec.model!r} does not embed: {error.what}", error.do) from error
    return int(vectors.shape[1])


async def _check_scores(upstream: Upstream, spec: EngineSpec) -> None:
    """Ask for one score, so that what does not rerank is found now."""
    try:
        await upstream.score(ScoreRequest(RequestId("start"), spec.model, "start", ("start",)))
    except SageError as error:
        raise EngineStartFailed(f"{spec.model!r} does not rerank: {error.what}", error.do) from error


def _context_tokens(spec: EngineSpec, listed: ListedModel) -> int:
    tokens = spec.server.context_tokens or listed.context_tokens or listed.max_model_len
    if not tokens:
        raise ConfigInvalid(
            f"{spec.target} does not say how long the context of {spec.model!r} is",
            "Add it to the engine: context_tokens=NUMBER",
            param="context_tokens",
        )
    return tokens
