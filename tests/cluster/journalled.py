"""A flow that asks models and whose process is killed in tests; every call is counted at the door. Run as a script."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import sage
from cluster.local import LocalCluster
from cluster.runtime.call_book import key_of, keys_of_texts
from cluster.serving.engines.spec import spec_from_text
from sage.base.inference import Inference, ReplyTo, Request, TextsRequest
from sage.base.settings import Settings

NUM_RECORDS = 300


def count_calls(door: Inference, path: Path) -> None:
    """Have a line appended for each call that leaves the tasks."""
    submit = door.submit

    def counting(requests: Sequence[Request], reply_to: ReplyTo) -> None:
        with path.open("a") as file:
            file.writelines(f"{key.hex()}\n" for request in requests for key in keys_of(request))
        submit(requests, reply_to)

    vars(door)["submit"] = counting


def keys_of(request: Request) -> list[bytes]:
    if isinstance(request, TextsRequest):
        return keys_of_texts(request)
    return [key_of(request)]


def flow_that(dies: int) -> sage.Flow:
    def seen(record: dict[str, object]) -> None:
        if record["n"] == dies:
            os.kill(os.getpid(), signal.SIGKILL)

    flow = sage.Flow("journalled")
    texts = flow.from_collection([{"n": n, "text": f"text {n}"} for n in range(NUM_RECORDS)])
    vectors = texts.embed(model="sim", text="text", into="vector", max_in_flight=16)
    answers = vectors.generate(
        model="sim", prompt="{text}", max_tokens=2, temperature=0.7, into="said", max_in_flight=8
    )
    answers.for_each(seen)
    return flow


def main(folder: str, every_s: str, dies: str) -> None:
    with LocalCluster(settings=Settings(), engines=[spec_from_text("simulated:h100,model=sim")]) as cluster:
        count_calls(cluster.inference, Path(folder) / "asked")
        kept = sage.Checkpoint(Path(folder) / "kept", every_s=float(every_s))
        result = cluster.submit(flow_that(int(dies)), checkpoint=kept).wait(60)
        print(result.records_out, result.num_replayed, result.num_repeated)


if __name__ == "__main__":
    main(*sys.argv[1:])
