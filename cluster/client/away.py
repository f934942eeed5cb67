"""For how long, and how often, a client looks for a head that it has lost. Pure; connects to nothing."""

from sage.base.errors import ClusterUnreachable, SageError

FIRST_TRY_S = 0.1
LAST_TRY_S = 1.0


class Away:
    """Of one client. It is away from when it has lost the head until that greets it again."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: how long it looks for the head; 0.0: not at all."""
        self._patience_s = patience_s
        self._until_s: float | None = None
        self._try_s = FIRST_TRY_S

    @property
    def is_away(self) -> bool:
        return self._until_s is not None

    def may_try(self, now_s: float) -> bool:
        """Say whether there is time left."""
        return self._patience_s > 0.0 if self._until_s is None else now_s < self._until_s

    def leave(self, now_s: float) -> float:
        """Be away; return in how many seconds to try again."""
        if self._until_s is None:
            self._until_s = now_s + self._patience_s
            self._try_s = FIRST_TRY_S
        after_s, self._try_s = self._try_s, min(2.0 * self._try_s, LAST_TRY_S)
        return min(after_s, max(0.0, self._until_s - now_s))

    def returned(self) -> None:
        self._until_s = None

    def told(self, error: SageError, where: str) -> SageError:
        """Return what whoever waits is told once the head is given up."""
        if self._until_s is None or not isinstance(error, ClusterUnreachable):
            return error
        return ClusterUnreachable(
            f"the head at {where} was lost and has not come back within {self._patience_s:g} s",
            "Start it again under its name: sage-cluster start. Its jobs begin anew then: sage-cluster jobs.",
        )
