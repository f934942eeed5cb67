"""The questions that the demo asks by itself, each labelled with the topics that answer it. Knows no model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its place in the order of asking, and the topics that answer it (none where nobody labelled it)."""

    number: int
    text: str
    topics: frozenset[str] = frozenset()


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


def questions_from_lines(lines: list[str]) -> list[Question]:
    """Return a question a line, unlabelled; empty lines are left out."""
    texts = [line.strip() for line in lines]
    return [Question(number, text) for number, text in enumerate(filter(None, texts), start=1)]
