"""What functions print on a node: by task, in lines, bounded, and never in the way of who prints."""

import io
import os
from contextvars import copy_context
from typing import Any

import pytest

import sage
from cluster.jobs.tasks import tasks_from_plan
from cluster.node.printed import MAX_WAITING_CHARS, Printed, PrintedStream
from cluster.node.sinks import MAX_LINE_CHARS, NUM_LINES
from cluster.runtime.at_work import AtWork, at_work, put_to_work
from cluster.runtime.control_printed import PrintedTo, RunPrinted
from cluster.runtime.messages import JobStopped, JobTaskEnded
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.plan import plan_from_graph

RUN = JobId("run")
MAP, CALL = AtWork(RUN, TaskId("run/map/0"), "map"), AtWork(RUN, TaskId("run/call/0"), "call")
OUT, ERR = PrintedTo.STDOUT, PrintedTo.STDERR


def said(task: AtWork, to: PrintedTo, *lines: str) -> RunPrinted:
    return RunPrinted(task.run_id, task.task_id, task.step, to, lines)


def ended(task: AtWork) -> JobTaskEnded:
    return JobTaskEnded(task.run_id, task.task_id, True, None)


def test_lines_go_in_order_whole_and_with_their_task() -> None:
    printed = Printed()
    printed.write(MAP, OUT, "a")
    printed.write(CALL, OUT, "b\nc\n")
    printed.write(CALL, ERR, "d\n")
    printed.write(MAP, OUT, "!\n")
    assert printed.take() == [said(CALL, OUT, "b", "c"), said(CALL, ERR, "d"), said(MAP, OUT, "a!")]
    assert printed.take() == []


def test_a_line_without_an_end_is_whole_once_its_task_is_over() -> None:
    printed = Printed()
    printed.write(MAP, OUT, "half")
    printed.write(CALL, OUT, "a half")
    assert printed.take(ended(MAP)) == [said(MAP, OUT, "half")]
    assert printed.take(JobStopped(JobId("another"), NodeId("node-1"), ())) == []
    assert printed.take(JobStopped(RUN, NodeId("node-1"), ())) == [said(CALL, OUT, "a half")]


def test_there_is_a_knock_once_until_what_waits_is_taken() -> None:
    printed, knocks = Printed(), list[int]()
    printed.knock_by(lambda: knocks.append(1))
    printed.write(MAP, OUT, "half")
    assert not knocks
    for _ in range(3):
        printed.write(MAP, OUT, "\n")
    assert len(knocks) == 1
    printed.take()
    printed.write(MAP, OUT, "\n")
    assert len(knocks) == 2


def test_what_is_too_much_is_counted_and_what_is_too_long_is_cut() -> None:
    printed = Printed()
    printed.write(MAP, OUT, "x" * (MAX_LINE_CHARS + 1))  # no end in sight
    printed.write(MAP, OUT, "y" * MAX_LINE_CHARS + "\n")
    assert printed.take() == [said(MAP, OUT, "x" * MAX_LINE_CHARS, "y" * MAX_LINE_CHARS)]
    num_lines = MAX_WAITING_CHARS // 100
    printed.write(MAP, OUT, ("z" * 99 + "\n") * (num_lines + 1_200))
    messages = printed.take()
    assert max(len(message.lines) for message in messages) == NUM_LINES
    lines = [line for message in messages for line in message.lines]
    assert (lines[:-1], "1,200 lines more" in lines[-1]) == (["z" * 99] * num_lines, True)


def test_what_a_process_that_was_forked_off_prints_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = Printed()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    printed.write(MAP, OUT, "a\n")
    assert printed.take() == []


def test_a_stream_writes_on_and_gives_what_a_task_prints_alone() -> None:
    printed, plain = Printed(), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = PrintedStream(plain, OUT, printed)
    flow = sage.Flow("f")
    flow.from_collection([1]).map(str).print()
    [spec] = tasks_from_plan(RUN, plan_from_graph(flow.graph()))
    context = copy_context()
    put_to_work(context, spec)
    print("of the node", file=stream)
    context.run(print, "of a task \ud83d", file=stream)
    stream.flush()
    assert plain.buffer.getvalue() == b"of the node\nof a task \\ud83d\n"
    task = AtWork(RUN, spec.id, "from_collection > map > print")
    assert printed.take() == [said(task, OUT, "of a task \ud83d")]


def test_functions_and_coroutines_know_whose_they_are() -> None:
    async def call(steps: Any) -> Any:
        return [*steps, _step()]

    flow = sage.Flow("f")
    numbers = flow.from_collection(range(3)).map(lambda _: [_step()])
    out = numbers.map_async(call, max_in_flight=1).collect()
    flow.run(progress=False)
    assert out.items == [["from_collection > map", "map_async"]] * 3
    assert at_work() is None


def _step() -> str:
    task = at_work()
    assert task is not None
    return task.step
