"""Whether a flow would read a file that it writes. Looks at names on this machine, through links, and opens nothing.

The file that a sink writes takes the place of the one that is there: a run that begins anew would read its own output.
"""

import fnmatch
import glob
import os
from collections.abc import Sequence

from sage.base.errors import FlowInvalid
from sage.flow.file_shares import path_of_share
from sage.flow.files import is_url
from sage.flow.graph import Step
from sage.flow.ports import Repeats, repeats_of
from sage.flow.spec import Read, Spec, Write


def files_of_sink(step: Step) -> list[str]:
    """Return the paths of the files that appear when the job ends well: one for each instance of a sink."""
    sink = step.spec.sink if isinstance(step.spec, Write) else None
    path = getattr(sink, "path", None)
    if not isinstance(path, str) or repeats_of(sink) is not Repeats.HIDDEN:
        return []
    return list(dict.fromkeys(path_of_share(path, number) for number in range(step.parallelism)))


def check_files(steps: Sequence[Step]) -> None:
    """Raise FlowInvalid where a step writes a file that another one reads, by its name, by a link or by a pattern."""
    sources = [(step, path) for step in steps if isinstance(path := _read_by(step.spec), str)]
    for step, written in ((each, path) for each in steps for path in files_of_sink(each)):
        reader = next((each for each in sources if _matches(each[1], written)), None)
        if reader is not None:
            how = "" if reader[1] == written else f" by {reader[1]!r}"
            raise FlowInvalid(
                f"{step.where}: {written} is written by this step, and read{how} at {reader[0].where}",
                "Write another file: what is written takes the place of what a run that begins anew would read.",
            )


def _read_by(spec: Spec) -> object:
    return getattr(spec.source, "path", None) if isinstance(spec, Read) else None


def _matches(pattern: str, written: str) -> bool:
    if is_url(pattern) or is_url(written):
        return is_url(pattern) and is_url(written) and _parts_match(pattern.split("/"), written.split("/"))
    own = os.path.realpath(written)
    if os.path.realpath(pattern) == own:
        return True
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return False
    if any(os.path.realpath(found) == own for found in glob.iglob(pattern, recursive=True)):
        return True
    parts = os.path.abspath(pattern).split(os.sep)
    num_plain = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    folder = os.path.realpath(os.sep.join(parts[:num_plain]) or os.sep)
    return _parts_match([*folder.rstrip(os.sep).split(os.sep), *parts[num_plain:]], own.split(os.sep))


def _parts_match(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Say whether names of folders and a file match a glob, in which `**` stands for any number of folders.

    >>> _parts_match(["data", "**", "*.csv"], ["data", "a", "b", "c.csv"])
    True
    """
    if not pattern or not names:
        return not pattern and not names
    if pattern[0] == "**":
        goes_deeper = not names[0].startswith(".") and _parts_match(pattern, names[1:])
        return _parts_match(pattern[1:], names) or goes_deeper
    is_hidden = names[0].startswith(".") and not pattern[0].startswith(".")
    return not is_hidden and fnmatch.fnmatchcase(names[0], pattern[0]) and _parts_match(pattern[1:], names[1:])
