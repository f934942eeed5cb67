"""The engines that were lost and are to be started again, of one shell. Knows no thread: its driver starts them."""

from cluster.serving.driver import Driver, HeldLink
from cluster.serving.restarts import Restarts
from sage.base.ids import EngineId
from sage.base.inference import Failure
from sage.base.log import get_log


class Returning:
    """Used by one thread."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._restarts = Restarts()
        self._coming: dict[EngineId, HeldLink] = {}
        self._moving: set[EngineId] = set()
        self._leaving: set[EngineId] = set()
        self._is_over = False

    def ready(self, engine_id: EngineId, now_s: float) -> None:
        self._restarts.ready(engine_id, now_s)

    def attached(self, engine_id: EngineId) -> None:
        """It is there again, or for the first time."""
        self._coming.pop(engine_id, None)
        self._leaving.discard(engine_id)

    def leaves(self, engine_id: EngineId) -> None:
        """It will be lost on purpose, and does not begin again."""
        self._leaving.add(engine_id)

    def moves(self, engine_id: EngineId) -> None:
        """It will be lost on purpose: it begins again at once, and nothing is held against it."""
        self._moving.add(engine_id)

    def begin(self, held: HeldLink, failure: Failure, now_s: float) -> bool:
        """Have an engine that was lost by `failure` started again, if it may be; say whether it is."""
        engine_id = held.link.engine_id
        if held.again is None or self._is_over or engine_id in self._leaving:
            self._leaving.discard(engine_id)
            return False
        if engine_id in self._moving:
            self._moving.discard(engine_id)
            self._restarts.moved(engine_id)
            after_s: float | None = 0.0
        else:
            after_s = self._restarts.lost(engine_id, failure, now_s)
        if after_s is None:
            get_log().error("engine given up", engine_id=engine_id, what=failure.what)
            return False
        self._coming[engine_id] = held
        self._driver.start_again(held, after_s)
        return True

    def not_started(self, engine_id: EngineId, failure: Failure, now_s: float) -> bool:
        """Take note that it could not be started now; False where it is given up by that."""
        held = self._coming.pop(engine_id, None)
        if held is None:
            return True
        get_log().warning("engine not started again", engine_id=engine_id, what=failure.what)
        return self.begin(held, failure, now_s)

    def end(self) -> None:
        """Start none from now on that is lost from now on."""
        self._is_over = True

    def let_go(self) -> list[EngineId]:
        """Forget those that were to come, and return them."""
        coming = list(self._coming)
        self._coming.clear()
        return coming
