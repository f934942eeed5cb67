"""Runs a keyed process that is also told what is meant for all keys. Knows no batch and no clock."""

from collections.abc import Hashable
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NoReturn

from operators.alarms import Alarms
from operators.failure import Failures
from operators.processing import Processing
from operators.sides import Sides
from operators.state import StepState
from operators.tables import Table
from sage.flow.broadcast_process import BroadcastProcess, shared_names
from sage.flow.graph import Step


class Broadcasting(Processing):
    """Records come as `(0, record)` of a key, or as `(1, record)` of none: those may change the broadcast states."""

    def __init__(
        self,
        step: Step,
        process: BroadcastProcess[Any, Any, Any, Any],
        failures: Failures,
        sides: Sides,
        alarms: Alarms,
        table: Table | None = None,
    ) -> None:
        super().__init__(step, process, failures, sides, alarms, table)
        self._on_broadcast = process.on_broadcast
        self._shared: dict[str, dict[Any, Any]] = {name: {} for name in shared_names(process)}
        self._readable = {name: MappingProxyType(values) for name, values in self._shared.items()}
        self._context.shared = self._readable

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        ahead, lines = super().lines(number, names)
        names[f"tell{number}"] = self._tell
        return ahead, ["if x[0]:", f"    tell{number}(x[1], t)", "    continue", *lines]

    def _record(self) -> str:
        return "x[1]"

    def _tell(self, record: Any, time_s: float | None) -> None:
        context = self._context
        context.shared, context.current = self._shared, _NO_KEY
        try:
            given: object = self._on_broadcast(record, _Told(time_s))
        finally:
            context.shared = self._readable
        if given is not None:
            raise TypeError(f"on_broadcast returns None, since nothing goes on from there; it gave {given!r:.80}")

    def snapshot(self) -> StepState:
        shared: dict[tuple[str, Hashable], Any] = {
            (name, key): value for name, values in self._shared.items() for key, value in values.items()
        }
        return replace(super().snapshot(), shared=shared)

    def restore(self, state: StepState) -> None:
        """States that the process no longer declares are forgotten."""
        super().restore(state)
        for (name, key), value in (state.shared or {}).items():
            if name in self._shared:
                self._shared[name][key] = value


class _Told:
    """The context of a record for all keys."""

    def __init__(self, time_s: float | None) -> None:
        self.time_s = time_s


class _NoKey(dict[str, Any]):
    """Stands for the values of a key where there is none."""

    def _refuse(self, *_: object) -> NoReturn:
        raise ValueError("on_broadcast is of no key, so it has no state of one: it reads and changes broadcast states")

    get = __getitem__ = __setitem__ = __contains__ = pop = _refuse


_NO_KEY = _NoKey()
