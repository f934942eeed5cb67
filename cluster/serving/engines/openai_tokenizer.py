"""The tokenizers of an OpenAI-compatible server, which vLLM serves at `/tokenize` and `/detokenize`: a TokenizerDesk.

Its questions are tasks of the event loop that speaks HTTP. Knows no engine and no plane.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable

from cluster.serving.engines.checks import check_unicode, failed
from cluster.serving.engines.loop_thread import LoopThread
from cluster.serving.engines.openai_failure import NoSuchPath
from cluster.serving.engines.openai_tokens import answer_of, body_of, path_of
from cluster.serving.engines.openai_upstream import Upstream
from cluster.serving.engines.port import EngineInfo
from sage.base.errors import InternalError, InvalidRequest, Overloaded, SageError, UnknownModel
from sage.base.tokenizing import (
    MAX_OPEN_QUESTIONS,
    Detokenize,
    TokenizeChat,
    TokenizerAnswer,
    TokenizerQuestion,
    TokenizeText,
)


class ServerTokenizer:
    """Asks the server, at most MAX_OPEN_QUESTIONS times at once."""

    def __init__(self, info: EngineInfo, upstream: Upstream, thread: LoopThread, wake_up: Callable[[], None]) -> None:
        """`upstream` lives on `thread`; `wake_up` tells the engine's thread, on that one, that there is an answer."""
        self._context_tokens = {card.name: card.context_tokens for card in info.models}
        self._upstream = upstream
        self._thread = thread
        self._wake_up = wake_up
        self._num_open = 0  # of the engine's thread, as `ask` and `answers`
        self._arrived: deque[TokenizerAnswer] = deque()  # filled on the loop's thread, emptied on the engine's
        self._refused: list[TokenizerAnswer] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, question: TokenizerQuestion) -> None:
        try:
            self._check(question)
        except SageError as error:
            self._refused.append(failed(question.id, error))
            return
        self._num_open += 1
        self._thread.loop.call_soon_threadsafe(self._begin, question)

    def answers(self) -> list[TokenizerAnswer]:
        answers, self._refused = self._refused, []
        while self._arrived:
            answers.append(self._arrived.popleft())
            self._num_open -= 1
        return answers

    def has_questions(self) -> bool:
        return False  # the server works on them

    async def close(self) -> None:
        """End what is open, on the loop's thread; nobody is answered any more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _check(self, question: TokenizerQuestion) -> None:
        if question.model not in self._context_tokens:
            what = f"this engine serves no model {question.model!r}"
            raise UnknownModel(what, f"It serves {', '.join(self._context_tokens)}.", param="model")
        match question:
            case TokenizeText(text=text):
                check_unicode(text, "the prompt", "prompt")
            case TokenizeChat(messages=messages):
                for number, message in enumerate(messages):
                    check_unicode(message.content, f"message {number} ({message.role})", "messages")
            case Detokenize():
                pass
        if self._num_open >= MAX_OPEN_QUESTIONS:
            raise Overloaded(f"{self._num_open} questions about tokens are open at the server", retry_after_s=1.0)

    def _begin(self, question: TokenizerQuestion) -> None:
        task = asyncio.get_running_loop().create_task(self._call(question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, question: TokenizerQuestion) -> None:
        self._arrived.append(await self._answer(question))
        self._wake_up()

    async def _answer(self, question: TokenizerQuestion) -> TokenizerAnswer:
        path, where = path_of(question), self._upstream.where
        try:
            body = await self._upstream.at_root(path, body_of(question))
            return answer_of(body, question, self._context_tokens[question.model], where)
        except NoSuchPath:
            what = f"the server of {question.model!r} has no {path}"
            return failed(question.id, InvalidRequest(what, "Name a model whose server has.", param="model"))
        except SageError as error:
            return failed(question.id, error)
        except Exception as error:  # noqa: BLE001 - the last handler of a question: whoever asked gets an answer
            traceback.print_exc()
            return failed(question.id, InternalError(f"{type(error).__name__}: {error}"))
