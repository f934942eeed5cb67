"""An answer as it is read, token by token, until it is whole. Knows neither threads nor coroutines."""

from collections import deque
from collections.abc import Iterable

from cluster.local.inquiries import completion_from
from cluster.local.open_inquiry import OpenInquiry
from sage.base.answers import Completion
from sage.base.errors import InvalidRequest
from sage.base.inference import Token


class ReadAnswer:
    """What both kinds of streams keep of an inquiry. What nobody has read yet is no longer than the answer may be."""

    def __init__(self, open_inquiry: OpenInquiry, reading: str) -> None:
        """`reading`: how a user takes the tokens, for the error of who does not."""
        self._open_inquiry = open_inquiry
        self._reading = reading
        self._unread: deque[Token] = deque()
        self._texts: list[str] = []
        self._answer: Completion | None = None

    @property
    def answer(self) -> Completion:
        if self._answer is None:
            raise InvalidRequest("the answer is not whole yet", f"Take its tokens first: `{self._reading}`.")
        return self._answer

    @property
    def is_whole(self) -> bool:
        return self._answer is not None

    @property
    def is_dry(self) -> bool:
        """Whether tokens are to be waited for."""
        return not self._unread and self._answer is None

    def came(self, tokens: Iterable[Token]) -> None:
        """Take tokens; none: the inquiry is over."""
        self._unread.extend(tokens)

    def next(self) -> Token | None:
        """Return the next token; None after the last, when the answer is whole."""
        if self._unread:
            token = self._unread.popleft()
            self._texts.append(token.text)
            return token
        if self._answer is None:
            self._answer = completion_from("".join(self._texts), *self._open_inquiry.lasts())
        return None
