"""Which checkpoint a task is to answer now: each exactly once. Pure; knows nothing of state or barriers."""


class Answers:
    """One checkpoint at a time: the next is wanted once every task has answered the last."""

    def __init__(self) -> None:
        self.wanted: int | None = None
        """What `due` may have where no barriers have come. An attribute: it is looked at before each batch."""
        self._dropped: int | None = None
        self._answered = 0

    def want(self, checkpoint_id: int) -> None:
        """A checkpoint is wanted; barriers of it may have come, and been answered, before."""
        if checkpoint_id > self._answered:
            self.wanted = checkpoint_id

    def drop(self, checkpoint_id: int) -> bool:
        """A checkpoint was given up; return whether it is still to be answered."""
        if checkpoint_id <= self._answered:
            return False
        self._dropped = checkpoint_id
        return True

    def is_dropped(self, checkpoint_id: int) -> bool:
        """Say whether it was given up, as far as is known."""
        return self._dropped == checkpoint_id

    def due(self, aligned: int | None, *, is_alone: bool) -> int | None:
        """Return what is to be answered now. `aligned`: the checkpoint whose barriers have all come.

        `is_alone`: no barrier will come any more, so that what is wanted is answered at once.
        """
        if aligned is not None:
            return aligned
        return self.wanted if is_alone else None

    def answer(self, checkpoint_id: int) -> bool:
        """Account for an answer; return whether it was given up before."""
        assert checkpoint_id > self._answered, checkpoint_id
        self._answered, self.wanted = checkpoint_id, None
        return self.is_dropped(checkpoint_id)
