"""The traces of the data folder, and generated ones. Knows nothing of what is done with them.

| name | what | source |
| --- | --- | --- |
| azure-code, azure-conversation | 5,291 and 11,619 requests, no prefixes | Azure LLM inference trace, 2023 |
| mooncake-conversation, mooncake-synthetic | 7,220 and 2,395 requests with blocks of 512 tokens | Mooncake, FAST 2025 |
| servegen, servegen-reasoning | clients, a tenant each, without prefixes | ServeGen, 2025 |
| generated | conversations of a few turns over shared system prompts, of 16 tenants | this file |
| adapters | conversations with 32 adapters, a tenant each, of which few are asked for much | this file |
| two-tenants | such conversations of a quiet tenant beside a noisy one | this file |
| agent-graphs | records of five workflows, 3 to 15 calls each that follow one another | `agent_graphs` |
"""

import csv
import gzip
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import IO

import msgspec

from benchmarks.simulator.agent_graphs import ARCHIVE, agent_trace, load_graphs
from benchmarks.simulator.arrival import Arrival, Trace, trace_of
from benchmarks.simulator.servegen import servegen_trace
from benchmarks.texts import data_folder
from sage.base.errors import SourceUnreadable

_AZURE = {"azure-code": "azure2023_code.csv.gz", "azure-conversation": "azure2023_conv.csv.gz"}
_MOONCAKE = {
    "mooncake-conversation": "mooncake_conversation.jsonl.gz",
    "mooncake-synthetic": "mooncake_synthetic.jsonl.gz",
}
_SERVEGEN = {"servegen": "servegen_m-small.tar.gz", "servegen-reasoning": "servegen_deepseek-r1.tar.gz"}
NUM_SERVEGEN = 5_000
GENERATED = "generated"
TWO_TENANTS = "two-tenants"
ADAPTERS = "adapters"
NUM_ADAPTERS = 32
AGENT_GRAPHS = "agent-graphs"
NUM_AGENT_CALLS = 8_000
QUIET_SHARE = 1 / 11  # of the conversations: the noisy tenant begins ten times as many


def load_trace(name: str, *, limit: int | None, seed: int, environ: Mapping[str, str] = os.environ) -> Trace:
    """Return the trace of this name, at most its first `limit` arrivals; `seed` is that of generated ones.

    Raises SourceUnreadable where the data folder does not hold it.
    """
    folder = data_folder(environ) / "traces"
    if name in _AZURE:
        trace = _azure(name, folder / _AZURE[name])
    elif name in _MOONCAKE:
        trace = _mooncake(name, folder / _MOONCAKE[name])
    elif name in _SERVEGEN:
        trace = servegen_trace(name, folder / _SERVEGEN[name], limit or NUM_SERVEGEN, seed=seed)
    elif name == AGENT_GRAPHS:
        return agent_trace(name, load_graphs(folder / ARCHIVE), limit or NUM_AGENT_CALLS, seed=seed)
    elif name == ADAPTERS:
        trace = adapters_trace(limit or 2_000, seed=seed)
    elif name == TWO_TENANTS:
        trace = generated_trace(limit or 2_000, seed=seed, name=name, tenant_of=_noisy_or_quiet)
    else:
        trace = generated_trace(limit or 2_000, seed=seed)
    return trace if limit is None else trace.first(limit)


def _azure(name: str, path: Path) -> Trace:
    with _opened(path) as file:
        rows = list(csv.DictReader(file))
    return trace_of(
        name,
        [
            Arrival(
                at_s=datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp(),
                prompt_tokens=int(row["ContextTokens"]),
                answer_tokens=max(1, int(row["GeneratedTokens"])),
            )
            for row in rows
        ],
    )


class _MooncakeRow(msgspec.Struct):
    timestamp: int
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]


def _mooncake(name: str, path: Path) -> Trace:
    with _opened(path) as file:
        rows = [msgspec.json.decode(line, type=_MooncakeRow) for line in file]
    return trace_of(
        name,
        [
            Arrival(
                at_s=row.timestamp / 1e3,
                prompt_tokens=row.input_length,
                answer_tokens=max(1, row.output_length),
                blocks=row.hash_ids,
                session=row.hash_ids[1] if len(row.hash_ids) > 1 else None,
            )
            for row in rows
        ],
    )


def _opened(path: Path) -> IO[str]:
    try:
        return gzip.open(path, "rt", encoding="utf-8")
    except OSError as error:
        raise SourceUnreadable(
            f"cannot read the trace {path}: {error}", "Set SAGE_DATA to a folder that holds traces/, or use generated."
        ) from error


def _of_all_sizes(rng: Random) -> str:
    return f"tenant-{int(rng.paretovariate(1.2)) % 16}"


def _noisy_or_quiet(rng: Random) -> str:
    return "quiet" if rng.random() < QUIET_SHARE else "noisy"


def generated_trace(
    num: int, *, seed: int, name: str = GENERATED, tenant_of: Callable[[Random], str] = _of_all_sizes
) -> Trace:
    """Return `num` requests of conversations: turns that grow, system prompts that many share, a tenant each."""
    rng = Random(seed)
    arrivals: list[Arrival] = []
    next_block = 1_000_000
    at_s, session = 0.0, 0
    while len(arrivals) < num:
        at_s += rng.expovariate(2.0)
        session += 1
        system = rng.randint(0, 7)
        blocks = [10 * system + n for n in range(1 + system % 3)]
        tenant, turn_s = tenant_of(rng), at_s
        for _ in range(rng.randint(1, 6)):
            for _ in range(rng.randint(0, 4)):
                next_block += 1
                blocks.append(next_block)
            answer_tokens = int(rng.lognormvariate(5.0, 0.8)) + 1
            prompt_tokens = 512 * len(blocks) + rng.randint(1, 511)
            arrivals.append(Arrival(turn_s, prompt_tokens, answer_tokens, tuple(blocks), 512, session, tenant))
            turn_s += rng.expovariate(0.1)
    return trace_of(name, sorted(arrivals, key=lambda arrival: arrival.at_s)[:num])


def adapters_trace(num: int, *, seed: int, num_adapters: int = NUM_ADAPTERS) -> Trace:
    """Return `num` requests of such conversations, each with one adapter throughout, whose tenant alone asks for it.

    How often adapters are asked for falls as one over their number (Zipf), about as S-LoRA has it (Sheng et al., 2024).
    """
    rng = Random(seed)
    weights = [1.0 / number for number in range(1, num_adapters + 1)]
    chosen: dict[int | None, int] = {}
    arrivals = []
    for arrival in generated_trace(num, seed=seed).arrivals:
        if arrival.session not in chosen:
            chosen[arrival.session] = rng.choices(range(num_adapters), weights)[0]
        number = chosen[arrival.session]
        blocks = tuple(num_adapters * block + number for block in arrival.blocks)
        name = f"adapter-{number}"
        arrivals.append(replace(arrival, blocks=blocks, tenant=name, adapter=name))
    return trace_of(ADAPTERS, arrivals)
