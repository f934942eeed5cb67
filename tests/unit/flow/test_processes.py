"""What processes may do with their states, as far as that is seen where they are given."""

from typing import Any

import pytest

from sage.base.errors import FlowInvalid
from sage.flow.flow import Flow
from sage.flow.process import KeyedProcess, ProcessContext, ReducingState, ValueState


class Adding(KeyedProcess[str, int, int]):
    total = ReducingState[int](int.__add__)
    seen = ValueState(0)

    def on_record(self, record: int, context: ProcessContext[str]) -> list[int]:
        self.seen += 1
        self.total = record
        return [self.total or 0]


class AddingTwice(Adding):
    def on_timer(self, time_s: float, context: ProcessContext[str]) -> list[int]:
        if self.total is not None:
            self.total += 1
        return []


class AddingElsewhere(Adding):
    def on_timer(self, time_s: float, context: Any) -> list[int]:
        context.total += 1
        return []


def test_a_reducing_state_is_assigned_what_is_to_be_put_in() -> None:
    keyed = Flow("f").from_collection([1]).key_by(str)
    keyed.process(Adding)
    keyed.process(AddingElsewhere)
    for process in (AddingTwice, AddingTwice(), lambda: AddingTwice()):
        with pytest.raises(FlowInvalid, match=r"AddingTwice\.on_timer: self\.total is read and assigned at once"):
            keyed.process(process)
