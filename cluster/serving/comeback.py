"""Starts a lost engine again beside the thread that drives the plane: it takes its time. Knows no plane."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cluster.serving.driver import HeldLink
from cluster.serving.engines.link import EngineLink
from sage.base.errors import InternalError, SageError
from sage.base.ids import EngineId
from sage.base.inference import Failure


@dataclass(frozen=True, slots=True)
class CameBack:
    """Another host of an engine was started; `held` was the one before."""

    held: HeldLink
    link: EngineLink


@dataclass(frozen=True, slots=True)
class NotBack:
    engine_id: EngineId
    failure: Failure


def begin_again(held: HeldLink, on_end: Callable[[CameBack | NotBack], bool]) -> None:
    """Start another host on a thread of its own, and tell `on_end` there, once; False: nobody wants it any more."""
    name = f"starting {held.link.engine_id}"
    threading.Thread(target=lambda: _start(held, on_end), name=name, daemon=True).start()


def _start(held: HeldLink, on_end: Callable[[CameBack | NotBack], bool]) -> None:
    assert held.again is not None, held
    try:
        link = held.again()
    except SageError as error:
        on_end(NotBack(held.link.engine_id, Failure.of(error)))
    except Exception as error:  # noqa: BLE001 - whoever waits for the engine must learn of it
        on_end(NotBack(held.link.engine_id, Failure.of(InternalError(f"{type(error).__name__}: {error}"))))
    else:
        if not on_end(CameBack(held, link)):
            link.close(0.0)
