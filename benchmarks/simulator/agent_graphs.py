"""Records that agents work on, each by a graph of calls: who calls whom from traces, how often and how long generated.

The graphs are the workflows of inference-perf's OpenTelemetry examples, written by hand: which call follows which, and
how long what was said is. Generated are when records come, the instructions that each step of a flow begins with (as
long as those of agents with a score of tools are), the document of each record and how soon each record is due.
"""

import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO

from benchmarks.simulator.arrival import Arrival, GraphCall, Trace, trace_of
from sage.base.errors import SourceUnreadable
from sage.base.inference import ServiceClass

ARCHIVE = "inferenceperf_otel_agent_graphs.tar.gz"
WORKFLOWS = (
    "code_review_workflow",
    "software_architecture_review",
    "parallel_requests",
    "fan_in_dependencies",
    "simple_chain",
)
CHARACTERS_PER_TOKEN = 4
BLOCK_TOKENS = 512
INSTRUCTIONS_BLOCKS = (4, 12)
DOCUMENT_BLOCKS = (2, 12)
RECORDS_PER_S = 1.0
PROMPT_TOKENS_PER_S, ANSWER_TOKENS_PER_S = 8_000.0, 25.0
"""How fast an engine with nothing else to do is, about: what a record would take alone is reckoned by it."""
SLACK = (1.2, 3.0)
"""A record is due after so many times as long as it would take alone, drawn evenly."""


@dataclass(frozen=True, slots=True)
class WorkflowCall:
    """A call of a workflow: tokens of what it is asked beside what all calls begin with, and of what it answers."""

    step: str
    after: tuple[int, ...]
    prompt_tokens: int
    answer_tokens: int


def load_graphs(path: Path) -> dict[str, tuple[WorkflowCall, ...]]:
    """Return the calls of each workflow, in order; raises SourceUnreadable."""
    try:
        with tarfile.open(path) as archive:
            traces = {Path(member.name).stem: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: _graph(json.load(_known(traces[name]))) for name in WORKFLOWS}
    except (OSError, tarfile.TarError, KeyError) as error:
        do = "Set SAGE_DATA to a folder that holds traces/, or use generated."
        raise SourceUnreadable(f"cannot read the agent graphs {path}: {error}", do) from error


def _known(file: IO[bytes] | None) -> IO[bytes]:
    assert file is not None, "members that are files have content"
    return file


def _graph(trace: dict[str, list[dict[str, object]]]) -> tuple[WorkflowCall, ...]:
    spans = sorted(trace["spans"], key=lambda span: str(span["start_time"]))
    return tuple(_node(span, spans) for span in spans)


def _node(span: dict[str, object], spans: Sequence[dict[str, object]]) -> WorkflowCall:
    """A call follows those that had ended when it began, but for those that others of them followed."""
    before = [at for at, other in enumerate(spans) if str(other["end_time"]) <= str(span["start_time"])]
    last_start = max((str(spans[at]["start_time"]) for at in before), default="")
    after = tuple(at for at in before if str(spans[at]["end_time"]) > last_start)
    said = span["attributes"]
    assert isinstance(said, dict)
    return WorkflowCall(
        str(span["span_id"]),
        after,
        1 + len(str(said["gen_ai.input.messages"])) // CHARACTERS_PER_TOKEN,
        1 + len(str(said["gen_ai.output.text"])) // CHARACTERS_PER_TOKEN,
    )


def agent_trace(name: str, graphs: Mapping[str, Sequence[WorkflowCall]], num: int, *, seed: int) -> Trace:
    """Return whole records of about `num` calls in all."""
    rng = Random(seed)
    instructions = {
        (flow, node.step): [rng.getrandbits(48) for _ in range(rng.randint(*INSTRUCTIONS_BLOCKS))]
        for flow, nodes in graphs.items()
        for node in nodes
    }
    arrivals: list[Arrival] = []
    at_s, record = 0.0, 0
    while len(arrivals) < num:
        at_s += rng.expovariate(RECORDS_PER_S)
        record += 1
        flow = rng.choice(WORKFLOWS)
        arrivals += _calls(flow, graphs[flow], instructions, record, at_s, rng)
    return trace_of(name, arrivals)


def _calls(
    flow: str,
    nodes: Sequence[WorkflowCall],
    instructions: dict[tuple[str, str], list[int]],
    record: int,
    at_s: float,
    rng: Random,
) -> list[Arrival]:
    document = [rng.getrandbits(48) for _ in range(rng.randint(*DOCUMENT_BLOCKS))]
    shared = instructions[flow, nodes[0].step]
    blocks = (*shared, *document)
    prompts = [len(blocks) * BLOCK_TOKENS + node.prompt_tokens for node in nodes]
    due_in_s = alone_s(nodes, prompts) * rng.uniform(*SLACK)
    return [
        Arrival(
            at_s,
            prompts[number],
            node.answer_tokens,
            blocks,
            BLOCK_TOKENS,
            record,
            service_class=ServiceClass.STANDARD,
            call=GraphCall(flow, node.step, record, number, node.after, due_in_s),
        )
        for number, node in enumerate(nodes)
    ]


def alone_s(nodes: Sequence[WorkflowCall], prompts_tokens: Sequence[int]) -> float:
    """Return how long the longest way through a graph takes, with nothing else at work and nothing cached."""
    ends_s: list[float] = []
    for node, prompt_tokens in zip(nodes, prompts_tokens, strict=True):
        takes_s = prompt_tokens / PROMPT_TOKENS_PER_S + node.answer_tokens / ANSWER_TOKENS_PER_S
        ends_s.append(max((ends_s[at] for at in node.after), default=0.0) + takes_s)
    return max(ends_s)
