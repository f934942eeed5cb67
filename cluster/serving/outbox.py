"""Replies on their way to whoever asked: each is called once with all that is for it. Knows no plane and no engine."""

from sage.base.inference import Reply, ReplyTo
from sage.base.log import get_log


class Outbox:
    """Used by one thread."""

    def __init__(self) -> None:
        self._replies: dict[ReplyTo, list[Reply]] = {}

    def __bool__(self) -> bool:
        return bool(self._replies)

    def give(self, reply_to: ReplyTo, reply: Reply) -> None:
        """Keep a reply for its asker until `deliver`."""
        self._replies.setdefault(reply_to, []).append(reply)

    def deliver(self) -> None:
        """Call each asker; what they ask meanwhile brings replies for the next time."""
        outgoing, self._replies = self._replies, {}
        for reply_to, replies in outgoing.items():
            try:
                reply_to(replies)
            except Exception:  # noqa: BLE001  # whoever asked is at fault; the others' requests go on
                ids = [reply.request_id for reply in replies]
                get_log().exception("replies refused by whoever asked", request_ids=ids)
