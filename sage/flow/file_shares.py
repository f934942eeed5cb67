"""Files that several instances write, one each: how they are called. Knows no format and no writing."""

import glob
import re
from collections.abc import Collection
from dataclasses import dataclass

from sage.base.errors import SinkUnwritable
from sage.flow.check_numbers import Fault
from sage.flow.files import file_system, is_url

INSTANCE = "{instance}"
"""Stands in a path for the number of whoever writes the file, from 0."""


def path_of_share(path: str, number: int) -> str:
    """Return the path of what one instance writes.

    >>> path_of_share("out/{instance}.jsonl.gz", 3)
    'out/3.jsonl.gz'
    """
    return path.replace(INSTANCE, str(number))


def fault_of_path(path: str) -> Fault | None:
    """Return why several instances cannot write `path`; None where each has a file of its own."""
    if INSTANCE in path:
        return None
    stem, dot, ending = path.rpartition("/")[2].partition(".")
    named = f"{stem}-{INSTANCE}{dot}{ending}"
    return Fault(f"{path} is one file, and each instance writes one of its own", f'Name them apart: "{named}".')


@dataclass(frozen=True, slots=True)
class FileShares:
    """All files of a sink: `pattern` is the path as the user wrote it."""

    pattern: str
    num_shares: int

    def check(self, own: int | None = None, kept: Collection[int] = ()) -> None:
        """Raise SinkUnwritable where a file is there that only a run of more instances can have written.

        Whoever reads all files of the pattern would take it for one of this run. `own`: look only at those that would
        be dealt to this instance, which goes on with the shares `kept` and knows of no others.
        """
        if INSTANCE not in self.pattern:
            return
        pattern, names = _there(self.pattern)
        numbered = re.compile("([0-9]+)".join(map(re.escape, pattern.split(INSTANCE, 1))).replace(*_AGAIN))
        for found in names:
            number = int(of[1]) if (of := numbered.fullmatch(found)) else -1
            is_others = own is not None and number % self.num_shares != own
            if number < self.num_shares or number in kept or is_others:
                continue
            raise SinkUnwritable(
                f"{found} is there, of a run with more than {self.num_shares} instances: with the files of this run it "
                "would look like one of them",
                f"Move it away, or name the files of this run otherwise than {self.pattern}.",
            )


_AGAIN = re.escape(INSTANCE), r"\1"
"""Where the number stands in a path once more, it is the same."""


def _there(pattern: str) -> tuple[str, list[str]]:
    """Return the names that may be of `pattern`, with how it is written where they are listed."""
    if not is_url(pattern):
        return pattern, glob.glob(_any_number(pattern))
    system, path = file_system(pattern)
    try:
        return path, system.glob(_any_number(path))
    except OSError:
        return path, []  # nothing can be listed there: whoever writes says what is wrong


def _any_number(pattern: str) -> str:
    return "*".join(map(glob.escape, pattern.split(INSTANCE)))
