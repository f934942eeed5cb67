"""What is asked and what was found: questions, each labelled with the topics that answer it. Knows no model."""

import select
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from os import fstat
from typing import TextIO

from sage.base.errors import InvalidRequest
from sage.flow.index import Passage

_STDIN_TIMEOUT_S = 0.5
"""How long a pipe that nobody writes to is waited for, before the built-in questions are asked."""

MAX_QUESTION_CHARS = 2000
"""What a question may have: with three passages it still fits any chat model, and one too long would end the run."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its place in the order of asking, and the topics that answer it (none where nobody labelled it)."""

    number: int
    text: str
    topics: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """A question with its best passages, the best first."""

    question: Question
    passages: tuple[Passage, ...]

    @property
    def is_right(self) -> bool:
        """Say whether one of the passages is of a topic that answers the question."""
        return any(passage.source.partition(":")[0] in self.question.topics for passage in self.passages)


_LABELLED = (
    ("What happens to an exception when a finally clause returns?", {"try"}),
    ("When are the default values of function parameters evaluated?", {"function"}),
    ("How does a class pattern in a match statement look up attributes?", {"compound"}),
    ("Which objects count as false in an if statement?", {"truth"}),
    ("When does the else clause of a for loop run?", {"for"}),
    ("How can an inner function rebind a variable of the function around it?", {"nonlocal", "naming", "execmodel"}),
    ("How do I print a number with thousands separators?", {"formatstrings"}),
    ("How does a descriptor decide what attribute access returns?", {"attribute-access"}),
    ("Does a dictionary keep the order in which keys were inserted?", {"dict", "typesmapping"}),
    ("How do I stop in the debugger only when a condition holds?", {"debugger"}),
)


def built_in_questions() -> list[Question]:
    """Return the ten labelled questions, in order."""
    return [Question(number, text, frozenset(topics)) for number, (text, topics) in enumerate(_LABELLED, start=1)]


def asked_questions(texts: Sequence[str], stdin: TextIO = sys.stdin) -> list[Question]:
    """Return what was asked on the command line, else what is piped in, a question a line, else the built-in ones.

    Raises: InvalidRequest where a question was given but is empty.
    """
    if texts:
        if not all(text.strip() for text in texts):
            raise InvalidRequest("a question is empty", 'Write: sage demo --question "What is a closure?"')
        return questions_from_lines(texts)
    return questions_from_lines(_piped_lines(stdin)) or built_in_questions()


def questions_from_lines(lines: Sequence[str]) -> list[Question]:
    """Return a question a line, unlabelled; empty lines are left out.

    Raises: InvalidRequest where one is longer than MAX_QUESTION_CHARS.
    """
    texts = [text for line in lines if (text := line.strip())]
    for number, text in enumerate(texts, start=1):
        if len(text) > MAX_QUESTION_CHARS:
            raise InvalidRequest(
                f"question {number} has {len(text):,} characters, {text[:40]!r}...",
                f"Ask in at most {MAX_QUESTION_CHARS:,} characters.",
            )
    return [Question(number, text) for number, text in enumerate(texts, start=1)]


def _piped_lines(stdin: TextIO) -> list[str]:
    if stdin.isatty():
        return []
    mode = fstat(stdin.fileno()).st_mode
    if stat.S_ISREG(mode) or select.select([stdin], [], [], _STDIN_TIMEOUT_S)[0]:
        return stdin.read().splitlines()
    print(
        f"nothing came on standard input within {_STDIN_TIMEOUT_S:g} s: asking the built-in questions", file=sys.stderr
    )
    return []
