"""What is posted to a flow over HTTP, as its tasks meet it: a port. Knows neither who posts nor who listens."""

from collections.abc import Callable
from typing import Any, NoReturn

from sage.flow.connectors.http_source import HttpSource
from sage.flow.ports import PositionedReader

Listen = Callable[[HttpSource, Any, int, int], PositionedReader[Any]]
"""Starts to read what is posted to a source, from a position on, None for its start: to that instance of so many.

Raises SourceUnreadable.
"""


def nobody_listens(source: HttpSource, position: Any, instance: int, num_instances: int) -> NoReturn:
    """Raise SourceUnreadable: nothing can be posted to flows here."""
    source.open()
