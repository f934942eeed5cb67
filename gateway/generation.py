"""A generation from request to answer, whole or as events. Knows neither chat from completion nor HTTP's headers."""

from gateway.answers import DONE, AnswerShape
from gateway.bridge import Asking
from gateway.exchange import Exchange
from sage.base.inference import Failed, Finished, Token


async def answer_whole(exchange: Exchange, asking: Asking, answer: AnswerShape) -> Finished:
    """Wait for the whole text and send it; raises the SageError that the request failed with."""
    texts: list[str] = []
    while True:
        for reply in await asking.next():
            match reply:
                case Token(text=text):
                    texts.append(text)
                case Finished(reason=reason, usage=usage):
                    exchange.served_by(reply)
                    await exchange.answer(answer.whole("".join(texts), reason, usage))
                    return reply
                case Failed(failure=failure):
                    raise failure.error()
                case _:
                    raise AssertionError(f"a generation was answered by {reply!r}")


async def answer_events(exchange: Exchange, asking: Asking, answer: AnswerShape, *, with_usage: bool) -> Finished:
    """Send the text as it comes: all that is there in one write, nothing before the first token.

    So what fails before the first token has a status of its own. Raises the SageError that the request failed with.
    """
    opening = answer.opening()
    while True:
        events = [opening]
        for reply in await asking.next():
            if not exchange.has_started and isinstance(reply, Token | Finished):
                exchange.served_by(reply)
            match reply:
                case Token(text=""):
                    pass
                case Token(text=text):
                    events.append(answer.piece(text))
                case Finished(reason=reason, usage=usage):
                    events += [answer.ending(reason), answer.usage(usage) if with_usage else b"", DONE]
                    await exchange.events(b"".join(events), is_last=True)
                    return reply
                case Failed(failure=failure):
                    await _send(exchange, events if exchange.has_started or len(events) > 1 else [])
                    raise failure.error()
                case _:
                    raise AssertionError(f"a generation was answered by {reply!r}")
        await _send(exchange, events)
        opening = b""


async def _send(exchange: Exchange, events: list[bytes]) -> None:
    data = b"".join(events)
    if data:
        await exchange.events(data)
