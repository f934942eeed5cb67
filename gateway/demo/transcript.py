"""Turns answers that grow side by side into one text that is read from top to bottom.

Pure: takes what happened, returns what to write now. Knows nothing of threads, streams or terminals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.demo.questions import Found, Question
from sage.flow.index import Passage

_INDENT = " " * 11
_PREVIEW_CHARS = 72


@dataclass(slots=True)
class _Page:
    """What is known of one question and not yet written."""

    held: list[str] = field(default_factory=list)
    column: int = 0
    line_is_over: bool = False
    is_opened: bool = False
    is_answered: bool = False


class Transcript:
    """Writes one question after the other, in the order of their numbers 1 to `num_questions`.

    What comes for a question whose turn has not come is held. Each method returns the text to write now.
    """

    def __init__(
        self,
        num_questions: int,
        *,
        width: int = 100,
        strong: Callable[[str], str] = str,
        faint: Callable[[str], str] = str,
    ) -> None:
        self._pages = [_Page() for _ in range(num_questions)]
        self._turn = 0
        self._width = width
        self._strong = strong
        self._faint = faint

    def found(self, found: Found) -> str:
        """Open the question: its text and its best passages."""
        self._open(found)
        return self._release()

    def token(self, found: Found, text: str) -> str:
        """Add a piece of the answer."""
        page = self._open(found)
        page.held.append(self._wrapped(page, text))
        return self._release()

    def answered(self, found: Found) -> str:
        """Close the question with its sources."""
        page = self._open(found)
        page.held.append(self._closing(found.passages))
        page.is_answered = True
        return self._release()

    def _open(self, found: Found) -> _Page:
        """Return the question's page; whichever event comes first opens it."""
        page = self._pages[found.question.number - 1]
        if not page.is_opened:
            page.is_opened = True
            page.held.append(self._opening(found.question, found.passages))
        return page

    def _release(self) -> str:
        written: list[str] = []
        while self._turn < len(self._pages):
            page = self._pages[self._turn]
            written += page.held
            page.held.clear()
            if not page.is_answered:
                break
            self._turn += 1
        return "".join(written)

    def _opening(self, question: Question, passages: Sequence[Passage]) -> str:
        lines = [f"\n{self._strong(f'{question.number}. {question.text}')}\n"]
        width = max((len(passage.source) for passage in passages), default=0)
        for passage in passages:
            beginning = self._faint(preview(passage.text, self._width - width - 13))
            lines.append(f"   {passage.score:5.2f}   {passage.source:<{width}}  {beginning}\n")
        return "".join([*lines, f"   {'answer':<8}"])

    def _closing(self, passages: Sequence[Passage]) -> str:
        sources = dict.fromkeys(passage.source for passage in passages)
        topics = dict.fromkeys(source.partition(":")[0] for source in sources)
        more = ", ".join(f'help("{topic}")' for topic in topics)
        return (
            f"\n   {'sources':<8}{'; '.join(sources)}\n{_INDENT}{self._faint(f'in full, in a Python shell: {more}')}\n"
        )

    def _wrapped(self, page: _Page, text: str) -> str:
        """Break `text` at spaces so that no line is longer than the width; its line ends are kept, empty lines are not.

        A line begins when its first word comes, so that nothing trails the last one.
        """
        out: list[str] = []
        for word in _words(text):
            is_too_long = word.startswith(" ") and page.column + len(word) > self._width - len(_INDENT)
            if word == "\n" or is_too_long:
                page.line_is_over = page.column > 0
            if word == "\n" or (page.line_is_over and not word.strip()):
                continue
            if page.line_is_over:
                out.append("\n" + _INDENT)
                page.column = 0
                page.line_is_over = False
            word = word if page.column else word.lstrip()
            out.append(word)
            page.column += len(word)
        return "".join(out)


def preview(text: str, max_chars: int) -> str:
    """Return the beginning of `text` on one line, cut at `max_chars` characters."""
    line = " ".join(text.split())
    limit = max(20, min(max_chars, _PREVIEW_CHARS))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _words(text: str) -> list[str]:
    """Cut before every space and around every line end; nothing is lost."""
    cut: list[str] = []
    for index, line in enumerate(text.split("\n")):
        cut += ["\n"] if index else []
        start, *rest = line.split(" ")
        cut += [start] if start else []
        cut += [f" {word}" for word in rest]
    return cut
