"""A rehearsal runs a flow as it would run, in an order drawn from a seed and in a time that is told."""

from collections import Counter
from collections.abc import Iterator

import pytest

import sage
from sage.base.errors import FlowInvalid, JobTimeout, RecordFailed, RequestFailed, SourceUnreadable
from sage.testing import Pause, Scripted, Watermark, rehearse


def pairs(seed: int) -> list[tuple[int, int]]:
    flow = sage.Flow("f")
    counts = flow.from_collection(range(60)).key_by(lambda n: n % 7).count().with_parallelism(3).collect()
    with rehearse(flow, seed=seed) as run:
        run.finish()
    return counts.items


def test_a_seed_gives_one_order_and_other_seeds_give_others() -> None:
    runs = [pairs(seed) for seed in range(5)]
    assert pairs(3) == runs[3]
    assert len({tuple(run) for run in runs}) > 1
    assert len({tuple(sorted(run)) for run in runs}) == 1


def test_nothing_happens_before_the_test_says_so_and_time_stands_while_it_settles() -> None:
    flow = sage.Flow("f")
    seen = flow.from_source(Scripted([1], Pause(5), [2])).collect()
    with rehearse(flow) as run:
        assert seen.items == []
        run.settle()
        assert (seen.items, run.now_s, run.is_over) == ([1], 0.0, False)
        run.advance(4.5)
        assert (seen.items, run.now_s) == ([1], 4.5)
        run.advance(0.5)
        assert (seen.items, run.is_over) == ([1, 2], True)


def test_a_watermark_of_the_script_closes_windows_and_is_passed_on_between_tasks() -> None:
    flow = sage.Flow("f")
    script = Scripted([1, 2], Watermark(10), Pause(1), [3, 25])
    stream = flow.from_source(script, timestamp=float, max_out_of_order_s=100)
    sums = stream.key_by(lambda n: "all").window(sage.Tumbling(10)).sum().with_parallelism(2).collect()
    with rehearse(flow) as run:
        run.settle()
        assert [(each.start, each.value) for each in sums.items] == [(0, 3)]
        run.finish()
        assert [(each.start, each.value) for each in sums.items] == [(0, 3), (20, 25)]
        assert run.metrics().records_in == 4


def test_a_watermark_of_the_script_outlives_a_crash() -> None:
    flow = sage.Flow("f")
    script = Scripted([1], Watermark(10), Pause(1), [2])
    stream = flow.from_source(script, timestamp=float, max_out_of_order_s=100)
    windows = stream.key_by(lambda n: "all").window(sage.Tumbling(10)).late_to("late").sum()
    sums, late = windows.collect(), windows.side("late").collect()
    with rehearse(flow, checkpoints=True) as run:
        run.checkpoint()
        run.crash()
        run.finish()
    assert [(each.start, each.value) for each in sums.items] == [(0, 1)]
    assert late.items == [2]


@pytest.mark.parametrize("seed", range(4))
def test_every_record_counts_once_wherever_it_crashes(seed: int) -> None:
    flow = sage.Flow("f")
    script = Scripted(*(part for n in range(6) for part in (list(range(10 * n, 10 * n + 10)), Pause(1))))
    counts = flow.from_source(script).key_by(lambda n: n % 7).count(final=True).with_parallelism(2).collect()
    with rehearse(flow, seed=seed, checkpoints=True) as run:
        for _ in range(3):
            run.advance(1)
            run.checkpoint()
            run.advance(seed)
            run.crash()
        run.finish()
    assert Counter(dict(counts.items)) == Counter(n % 7 for n in range(60))


class Listing(sage.KeyedProcess[str, int, int]):
    seen = sage.ListState[int]()

    def on_record(self, record: int, context: sage.ProcessContext[str]) -> Iterator[int]:
        self.seen.append(record)
        yield len(self.seen)


def test_a_run_changes_nothing_of_the_checkpoint_that_it_went_on_from() -> None:
    flow = sage.Flow("f")
    script = Scripted([1], Pause(1), [2, 3, 4])
    lengths = flow.from_source(script).key_by(lambda n: "all").process(Listing).collect()
    with rehearse(flow, checkpoints=True) as run:
        run.checkpoint()
        for _ in range(3):
            run.advance(1)
            assert lengths.items == [1, 2, 3, 4]
            run.crash()
        run.finish()
    assert lengths.items == [1, 2, 3, 4]


def test_a_source_that_goes_idle_holds_the_watermark_back_no_more() -> None:
    flow = sage.Flow("f")
    busy = flow.from_source(Scripted([1, 50], Pause(100)), timestamp=float)
    quiet = flow.from_source(Scripted([2], Pause(100)), timestamp=float, idle_after_s=30)
    sums = busy.union(quiet).key_by(lambda n: "all").window(sage.Tumbling(10)).sum().collect()
    with rehearse(flow) as run:
        run.advance(29)
        assert sums.items == []
        run.advance(1)
        assert [(each.start, each.value) for each in sums.items] == [(0, 3)]


def test_what_fails_is_raised_where_it_happens_and_by_every_call_after_it() -> None:
    flow = sage.Flow("f")
    seen = flow.from_source(Scripted(["1"], Pause(3), ["x"])).map(int).collect()
    with rehearse(flow) as run:
        run.advance(2)
        with pytest.raises(RecordFailed, match="invalid literal"):
            run.advance(1)
        assert run.is_over
        with pytest.raises(RecordFailed):
            run.finish()
    assert seen.items == [1]


def test_an_error_of_the_script_is_a_source_that_cannot_be_read() -> None:
    flow = sage.Flow("f")
    flow.from_source(Scripted([1], ConnectionError("gone"))).collect()
    with rehearse(flow) as run, pytest.raises(SourceUnreadable, match="gone"):
        run.settle()


def test_ticks_come_by_virtual_time_and_a_flow_without_an_end_is_told_so() -> None:
    flow = sage.Flow("f")
    ticks = flow.ticks(10).collect()
    with rehearse(flow) as run:
        run.advance(35)
        assert ticks.items == [10, 20, 30]
        with pytest.raises(JobTimeout, match="had not ended"):
            run.finish(within_s=100)
        run.advance(5)
        assert ticks.items[-1] >= 140


def test_a_model_is_a_function_and_what_it_raises_is_tried_again() -> None:
    flow = sage.Flow("f")
    asked: list[str] = []

    def small(prompt: str) -> str:
        asked.append(prompt)
        if asked.count(prompt) < 2:
            raise ConnectionError("busy")
        return prompt.upper()

    answers = flow.from_collection(["a", "b"]).generate(model="small", prompt="{}", retries=1).collect()
    with rehearse(flow, models={"small": small}) as run:
        run.finish()
    assert (answers.items, len(asked)) == (["A", "B"], 4)


def test_a_model_that_embeds_gives_vectors_of_length_one() -> None:
    flow = sage.Flow("f")
    vectors = flow.from_collection(["ab", "c"]).embed(model="small").collect()
    with rehearse(flow, models={"small": lambda text: [3.0 * len(text), 4.0 * len(text)]}) as run:
        run.finish()
    assert [[round(float(number), 3) for number in vector] for vector in vectors.items] == [[0.6, 0.8], [0.6, 0.8]]


def test_an_answer_of_the_wrong_kind_fails_its_record() -> None:
    flow = sage.Flow("f")
    flow.from_collection(["a"]).generate(model="small", prompt="{}").collect()
    with rehearse(flow, models={"small": lambda prompt: [1.0]}) as run:
        with pytest.raises(RecordFailed, match="is to give text") as caught:
            run.finish()
        assert isinstance(caught.value.__cause__, RequestFailed)


def test_what_cannot_be_rehearsed_is_refused() -> None:
    flow = sage.Flow("f")
    flow.from_collection(["a"]).embed(model="small").collect()
    with pytest.raises(FlowInvalid, match="nothing stands for it"):
        rehearse(flow)
    chat = sage.Flow("chat")
    chat.from_chat("echo").map(lambda turn: turn["question"]).reply()
    with pytest.raises(FlowInvalid, match="echo"):
        rehearse(chat)
    with rehearse(flow, models={"small": lambda text: [1.0]}) as run, pytest.raises(FlowInvalid, match="checkpoints"):
        run.checkpoint()
    with pytest.raises(FlowInvalid, match="pause"):
        Pause(-1)
    with pytest.raises(FlowInvalid, match="watermark"):
        Watermark(float("nan"))


def test_metrics_say_which_event_time_each_step_has_reached_and_what_waits() -> None:
    flow = sage.Flow("f")
    script = Scripted([1, 2, 12], Pause(1), [25], Pause(1))
    stream = flow.from_source(script, timestamp=float, max_out_of_order_s=2)
    windows = stream.key_by(lambda n: "all").window(sage.Tumbling(10)).sum().with_parallelism(2)
    windows.collect()
    with rehearse(flow) as run:
        assert [chain.watermark_s for chain in run.metrics().chains] == [None] * len(run.metrics().chains)
        run.settle()
        assert {chain.chain_id: chain.watermark_s for chain in run.metrics().chains}["collect"] == 10.0
        run.advance(1)
        found = {chain.chain_id: chain.watermark_s for chain in run.metrics().chains}
        assert (found["from_source"], found["window"], found["collect"]) == (23.0, 23.0, 23.0)
        assert {chain.num_waiting for chain in run.metrics().chains} == {0}
