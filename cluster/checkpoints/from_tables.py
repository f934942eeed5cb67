"""State that was laid down in tables, read back to be held in memory. Knows no step.

Rows are what a step in memory saves of a key, so that it goes on from them as from its own.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from operators.state import StepState
from operators.tables import Table


def in_memory(step: StepState, table: Table) -> StepState:
    """Return the same without tables; `table` is empty, and closed after. Takes as long as there are rows.

    Raises CheckpointUnusable.
    """
    try:
        table.take_up(step.stored)
        keyed = {key: row for _, key, row in table.after(b"")}
        panes: dict[str, dict[Hashable, Any]] = {}
        for _, placed, row in table.panes.after(b""):
            assert isinstance(placed, tuple), placed
            pane, key = placed
            panes.setdefault(str(pane), {})[key] = row
    finally:
        table.close()
    for key, row in (step.keyed or {}).items():  # beside a table stand alarms, which are the last field of a row
        keyed[key] = (*keyed[key][:-1], row[-1]) if key in keyed else row
    return replace(step, keyed=keyed, panes=panes, stored=())
