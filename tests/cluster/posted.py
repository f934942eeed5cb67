"""A flow that counts what is posted to it, for tests that kill its process. Run as a script."""

import sys
from pathlib import Path

import sage


def paced(number: int) -> int:
    """Take a moment, so that posts wait when the process is killed."""
    return number + sum(range(2_000)) - 1_999_000


def main(folder: str, num_posts: str) -> None:
    flow = sage.Flow("posted")
    numbers = flow.from_http("numbers", max_posts=int(num_posts)).map(paced)
    numbers.write_jsonl(f"{folder}/out.jsonl")
    total = numbers.key_by(lambda number: number % 2).sum(final=True).collect()
    result = flow.run(timeout_s=60, checkpoint=sage.Checkpoint(Path(folder) / "kept", every_s=0.05))
    print(result.records_in, sorted(total.items), result.guarantees[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
