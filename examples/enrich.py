"""Describe files, eight at a time, and set aside what cannot be read: python examples/enrich.py "docs/**" files.jsonl.

An async step waits for many records at once and gives them on in their order; a record on which it raises becomes a
dead letter, and the job goes on.
"""

import asyncio
import glob
import hashlib
import sys
from pathlib import Path

import sage


def digest(path: str) -> dict[str, object]:
    """Return length and SHA-256 of a file."""
    content = Path(path).read_bytes()
    return {"path": path, "len_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


async def describe(path: str) -> dict[str, object]:
    """Do the same without holding anybody up: a call to a web service would stand here as well."""
    return await asyncio.to_thread(digest, path)


def enrich(paths: list[str], target: str) -> list[str]:
    """Write a line of JSON a file to `target`; return the errors of those that could not be described."""
    flow = sage.Flow("enrich")
    described = flow.from_collection(paths).map_async(describe, max_in_flight=8, timeout_s=10.0)
    described.on_error("dead_letter").write_jsonl(target)
    with sage.connect() as cluster:
        job = cluster.submit(flow.graph())
        job.wait(timeout_s=60.0)
        return [letter.error for letter in job.dead_letters()]


if __name__ == "__main__":
    for error in enrich(sorted(glob.glob(sys.argv[1], recursive=True)), sys.argv[2]):
        print("set aside:", error, file=sys.stderr)
