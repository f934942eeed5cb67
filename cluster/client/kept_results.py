"""What a job collected and no client took, fetched from the head page by page. Knows no flow."""

from dataclasses import dataclass
from typing import Any

from cluster.client.collecting import Unpack
from cluster.client.line import HeadLine
from cluster.runtime.control_clients import CollectedNews, GetResults, Results
from cluster.runtime.states import JobState
from sage.base.errors import FlowInvalid, InternalError
from sage.base.ids import JobId


@dataclass(frozen=True, slots=True)
class KeptResults:
    """`items`: those of the job's newest run, by the name of the collecting step.

    `num_dropped`: older ones that the head does not keep any more; `state`: of the job when they were fetched.
    """

    state: JobState
    items: dict[str, list[Any]]
    num_dropped: int


def kept_results(line: HeadLine, job_id: JobId, unpack: Unpack) -> KeptResults:
    """Fetch them; raises UnknownJob, ClusterUnreachable; FlowInvalid where `unpack` does not know their classes."""
    page = _page(line, job_id, 0)
    pieces = [*page.pieces]
    while page.next_after is not None:
        page = _page(line, job_id, page.next_after)
        pieces = [*(piece for piece in pieces if piece.run_id == page.state.run_id), *page.pieces]
    items: dict[str, list[Any]] = {}
    for piece in pieces:
        items.setdefault(piece.step, []).extend(_unpacked(piece, unpack))
    return KeptResults(page.state, items, page.num_dropped)


def _page(line: HeadLine, job_id: JobId, after: int) -> Results:
    return line.ask(lambda number: GetResults(number, job_id, after), Results)


def _unpacked(piece: CollectedNews, unpack: Unpack) -> list[Any]:
    try:
        return list(unpack(piece.records))
    except InternalError as error:
        raise FlowInvalid(
            f"what {piece.step!r} collected cannot be read here: {error.what}",
            "Where it holds classes of the flow's own, name the flow: --flow FILE[:FLOW].",
        ) from error
