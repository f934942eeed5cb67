"""A chat request on its way through a flow: whose it is, and what is said about it. Knows no flow and no connection.

A record of a chat stream stays with its request, whatever a step makes of the record. Where several records come of
one request, each is a share of the answer; the request is answered once the shares that have ended make a whole.
"""

from fractions import Fraction
from typing import Any, Literal

import msgspec

from sage.base.ids import RequestId
from sage.base.inference import Failure, ServiceClass, Usage

Reason = Literal["stop", "length"]


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asked: the request, and what of it holds for the requests to models that its records cause.

    `timeout_s` counts from when the request was asked; None: no deadline. `max_tokens` and `stop` bound the answer.
    """

    id: RequestId
    service_class: ServiceClass
    tenant: str
    timeout_s: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the answer a record is to become: the `number`-th of `num_parts`, counted from 0.

    By `num_ways` ways records of one part reach a reply; each is a share of it.
    """

    num_ways: int = 1
    number: int = 0
    num_parts: int = 1

    @property
    def share(self) -> Fraction:
        """How much of the whole answer ends with the record."""
        return Fraction(1, max(1, self.num_ways * self.num_parts))

    @property
    def begin(self) -> Fraction:
        """How much of the whole answer comes before it."""
        return Fraction(self.number, max(1, self.num_parts))

    @property
    def end(self) -> Fraction:
        """How much of it has come with it."""
        return Fraction(self.number + 1, max(1, self.num_parts))

    def parted(self, number: int, num_parts: int) -> "Place":
        """Return the place of one of `num_parts` that come of the record."""
        return Place(self.num_ways, self.number * num_parts + number, self.num_parts * num_parts)


class TurnRecord(msgspec.Struct, frozen=True):
    """A record of a chat stream: `value` is what users see of it.

    `said`: its text has been sent piece by piece, and how that ended; None: it has not.
    """

    turn: Turn
    value: Any
    place: Place
    said: Reason | None = None

    def __repr__(self) -> str:
        return repr(self.value)

    def with_value(self, value: Any, said: Reason | None = None) -> "TurnRecord":
        """Return the record after a step has made `value` of it."""
        return TurnRecord(self.turn, value, self.place, said)

    def parted(self, number: int, num_parts: int, value: Any) -> "TurnRecord":
        """Return the `number`-th of the `num_parts` records that come of this one."""
        return TurnRecord(self.turn, value, self.place.parted(number, num_parts))


class TurnText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    """A piece of one part of the answer. `speaker`: of several that speak for one part, each is heard as a whole."""

    turn_id: RequestId
    place: Place
    speaker: str
    text: str


class TurnShareEnded(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ended"):
    """A record of the turn has come to its end: by a reply, or left away on the way (`reason` None)."""

    turn_id: RequestId
    place: Place
    speaker: str
    reason: Reason | None


class TurnUsed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="used"):
    """Tokens that a request to a model has taken."""

    turn_id: RequestId
    usage: Usage


class TurnFailed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """A record of the turn failed; nothing more comes of it."""

    turn_id: RequestId
    failure: Failure


TurnNews = TurnText | TurnShareEnded | TurnUsed | TurnFailed
"""What becomes of a turn, as tasks say it, wherever they run."""
