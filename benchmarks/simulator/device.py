"""A device in virtual time: a chat engine, and an embedding engine beside it where texts come too. Knows no plane."""

from dataclasses import dataclass, field

from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.engine import EngineModel, Sequenced
from benchmarks.simulator.texts import TextsJob, TextsModel
from sage.base.ids import RequestId

Job = Sequenced | TextsJob


@dataclass(slots=True)
class DeviceHappened:
    """Requests with their first token, those that ended, and those whose texts are all embedded."""

    first: list[Sequenced] = field(default_factory=list)
    ended: list[Sequenced] = field(default_factory=list)
    embedded: list[TextsJob] = field(default_factory=list)


class DeviceModel:
    """Told what to work on and how far time is; says when something will have happened."""

    def __init__(self, chat: EngineModel, texts: TextsModel | None = None) -> None:
        self.chat = chat
        self._texts = texts
        self._embedded: list[TextsJob] = []  # ended by the way, told at the next `advance`
        self._now_s = 0.0

    def next_s(self) -> float:
        """Return when to `advance` next; infinite where there is nothing to do."""
        if self._texts is None:
            return self.chat.next_s()
        return self._now_s if self._embedded else min(self.chat.next_s(), self._texts.next_s())

    def add(self, id: RequestId, arrival: Arrival, now_s: float) -> Job:
        """Take a request for its chat engine, or with texts for the one that embeds."""
        if not arrival.texts:
            job: Job = self.chat.add(id, arrival, now_s)
        else:
            assert self._texts is not None, "nothing embeds here"
            job = self._texts.add(id, arrival, now_s)
        self._settle(now_s)
        return job

    def cancel(self, job: Job, now_s: float) -> None:
        """Stop working on a request."""
        if isinstance(job, Sequenced):
            self.chat.cancel(job, now_s)
        elif self._texts is not None:
            self._texts.cancel(job)
        self._settle(now_s)

    def advance(self, now_s: float) -> DeviceHappened:
        """Go on to `next_s`; return what happened by then."""
        happened = DeviceHappened()
        if self.chat.next_s() <= now_s:
            of_chat = self.chat.advance(now_s)
            happened.first, happened.ended = of_chat.first, of_chat.ended
        self._settle(now_s)
        happened.embedded, self._embedded = self._embedded, []
        return happened

    def _settle(self, now_s: float) -> None:
        self._now_s = now_s
        if self._texts is not None:
            self._embedded += self._texts.settle(now_s)
