"""Calls that a cache has answered are not made: in this run, in the next, in other processes; failures are not kept."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.local import LocalCluster
from cluster.runtime.call_store import FILE
from cluster.serving.engines.spec import spec_from_text
from sage.base.errors import CacheUnusable
from sage.base.settings import Settings
from tests.cluster.journalled import count_calls

pytestmark = pytest.mark.cluster
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Page:
    url: str
    num_chars: int


def fetching(called: Path) -> Any:
    """A function whose calls are counted in a file: it runs in other processes too."""

    async def fetch(url: str) -> Page:
        with called.open("a") as file:
            file.write(f"{url}\n")
        if url == "bad":
            raise ValueError(url)
        return Page(url, len(url))

    return fetch


def test_results_are_there_for_the_next_run_wherever_it_runs(tmp_path: Path) -> None:
    called, urls = tmp_path / "called", ["a", "bb", "bad", "ccc"]
    cache = sage.CallCache(tmp_path / "answers", name="fetch")
    for address, num_cached in (("local", 0), ("local", 3), ("local:2", 3)):
        flow = sage.Flow("pages")
        stream = flow.from_collection(urls).map_async(fetching(called), cache=cache).with_parallelism(2)
        pages = stream.on_error("dead_letter").collect()
        result = flow.run(address, timeout_s=DEADLINE_S, progress=False)
        assert sorted(pages.items, key=lambda page: page.url) == [Page(url, len(url)) for url in ("a", "bb", "ccc")]
        assert (result.num_cached, result.dead_letters) == (num_cached, 1)
    assert Counter(called.read_text().split()) == {"a": 1, "bb": 1, "ccc": 1, "bad": 3}


def test_answers_of_models_are_kept_by_what_was_asked(tmp_path: Path) -> None:
    def flow_of(num: int, max_tokens: int) -> tuple[sage.Flow, Any]:
        flow = sage.Flow("asked")
        texts: list[dict[str, Any]] = [{"text": f"text {n}"} for n in range(num)]
        vectors = flow.from_collection(texts).embed(model="sim", text="text", into="vector", cache=tmp_path / "answers")
        said = vectors.generate(
            model="sim",
            prompt="{text}",
            max_tokens=max_tokens,
            temperature=0.7,
            into="said",
            cache=tmp_path / "answers",
        )
        return flow, said.collect()

    results: list[list[Any]] = []
    with LocalCluster(settings=Settings(), engines=[spec_from_text("simulated:h100,model=sim")]) as cluster:
        count_calls(cluster.inference, tmp_path / "asked")
        for num, max_tokens, num_cached in ((20, 3, 0), (30, 3, 40), (30, 2, 30)):
            flow, out = flow_of(num, max_tokens)
            job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.05))
            assert job.wait(DEADLINE_S).num_cached == num_cached
            assert job.metrics().chains[1].num_cached == min(num_cached, 20 if num_cached == 40 else 30)
            results.append([(each["said"], each["vector"].tobytes()) for each in out.items])
    assert results[1][:20] == results[0]
    asked = (tmp_path / "asked").read_text().split()
    assert len(asked) == len(set(asked)) == 2 * 20 + 2 * 10 + 30


def test_a_cache_that_cannot_be_opened_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    flow = sage.Flow("pages")
    flow.from_collection(["a"]).map_async(
        fetching(tmp_path / "called"), cache=sage.CallCache(tmp_path, name="f")
    ).collect()
    with pytest.raises(CacheUnusable, match="cannot be opened"):
        flow.run(timeout_s=DEADLINE_S, progress=False)
