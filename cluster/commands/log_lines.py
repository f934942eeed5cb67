"""What a job printed, as `sage-cluster logs` shows it. Pure."""

from collections.abc import Sequence

import msgspec

from cluster.runtime.control_printed import LogLine, PrintedTo


def shown_lines(lines: Sequence[LogLine]) -> list[str]:
    """Return what a step `print()` printed as it is, and what functions did with the node and the step before it."""
    return [line.text if line.to is PrintedTo.PRINT else f"[{line.node} {line.step}] {line.text}" for line in lines]


def json_lines(job_id: str, lines: Sequence[LogLine]) -> list[str]:
    """Return a JSON document for each line, with all that is known of it."""
    return [msgspec.json.encode({"job_id": job_id, **msgspec.structs.asdict(line)}).decode() for line in lines]
