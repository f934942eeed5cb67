"""Dead letters on the disk of the machine where they were set aside, so that their step can be run on them again.

A letter is a file: the length of the head (4 bytes, little end first), the head (JSON), then the record as a batch of
`cluster.runtime.records`. Knows nothing of jobs; nothing is opened before the first letter comes.
"""

import contextlib
import os
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from cluster.jobs.flow_types import flow_types
from cluster.runtime.columns import BadFrame
from cluster.runtime.messages import TaskSpec
from cluster.runtime.place import state_of_letters
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from operators.machine import DeadLetter
from sage.base.batch import Batch
from sage.base.clock import Clock
from sage.base.errors import SageError, UnknownLetter
from sage.base.log import get_log
from sage.base.settings import Settings
from sage.base.turns import TurnRecord
from sage.flow.graph import Graph
from sage.flow.runner import DeadLetterRecord

MAX_LETTERS = 1_000
"""Letters that are kept on a machine; the newest stay."""

MAX_RECORD_BYTES = 1_000_000

_SUFFIX = ".letter"


class KeptLetter(msgspec.Struct, frozen=True):
    """`file`: where its step is written down. `lens`: bytes of each buffer of the record; empty: it is not kept."""

    letter: DeadLetterRecord
    file: str
    set_aside_unix_s: float
    lens: tuple[int, ...] = ()
    why_not: str = ""


class LetterFolder:
    """The letters of one folder; several processes may fill it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: deque[str] | None = None

    def ids(self) -> list[str]:
        """Return the ids of all letters, the newest last."""
        try:
            found = [(path.stat().st_mtime_ns, path.name) for path in self._folder.glob(f"*{_SUFFIX}")]
        except FileNotFoundError:
            return []  # another process removes the oldest just now, or there is none
        return [unquote(name.removesuffix(_SUFFIX)) for _, name in sorted(found)]

    def keep(self, kept: KeptLetter, record: bytes) -> None:
        """Write one letter, and remove the oldest of too many. Raises OSError."""
        if self._names is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._names = deque(_name(letter_id) for letter_id in self.ids())
        head = msgspec.json.encode(kept)
        name = _name(kept.letter.id)
        beside = self._folder / f".{name}.{os.getpid()}"
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(len(head).to_bytes(4, "little") + head + record)
        beside.replace(self._folder / name)
        self._names.append(name)
        while len(self._names) > MAX_LETTERS:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / self._names.popleft()).unlink()

    def open(self, letter_id: str) -> tuple[KeptLetter, bytes]:
        """Return a letter and its record as bytes; raises UnknownLetter."""
        try:
            whole = (self._folder / _name(letter_id)).read_bytes()
            len_head = int.from_bytes(whole[:4], "little")
            return msgspec.json.decode(whole[4 : 4 + len_head], type=KeptLetter), whole[4 + len_head :]
        except (OSError, msgspec.DecodeError) as error:
            raise UnknownLetter(
                f"there is no dead letter {letter_id!r} in {self._folder}",
                "It lies on the machine of the node that set it aside, see: sage-cluster dead-letters JOB. "
                f"The newest {MAX_LETTERS:,} of a machine are kept.",
            ) from error


class LetterKeeper:
    """Keeps the dead letters of tasks; called on their threads."""

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        """`folder` None: nothing is kept."""
        self._letters = LetterFolder(folder) if folder is not None else None
        self._clock = clock

    def __call__(self, spec: TaskSpec, record: DeadLetterRecord, letter: DeadLetter) -> None:
        """Keep a letter where it can be; the job goes on in any case."""
        if self._letters is None:
            return
        step = next((step for step in spec.chain.steps if step.name == letter.step), spec.chain.steps[0])
        buffers, why_not = _encoded(letter, flow_types(Graph("", spec.chain.steps)))
        lens = tuple(len(buffer) for buffer in buffers)
        kept = KeptLetter(record, step.where.file, self._clock.unix_s(), lens, why_not)
        try:
            self._letters.keep(kept, b"".join(buffers))
        except OSError as error:
            get_log(task=spec.id).warning("a dead letter is not kept", why=str(error))


def letters_here(settings: Settings) -> Path | None:
    """Return the folder of the dead letters of this machine; None where none are to be kept."""
    named = settings.jobs.letters_dir
    if named is None:
        return state_of_letters()
    return Path(named).expanduser() if named else None


def record_of(kept: KeptLetter, record: bytes, graph: Graph) -> Any:
    """Return the record of a letter, of the classes that `graph` has. Raises UnknownLetter where it was not kept."""
    if not kept.lens:
        raise UnknownLetter(
            f"the record of {kept.letter.id} was not kept: {kept.why_not}", f"Its text was: {kept.letter.value[:200]}"
        )
    buffers, at = [], 0
    for length in kept.lens:
        buffers.append(record[at : at + length])
        at += length
    try:
        return decode_batch(buffers, flow_types(graph)).values[0]
    except (BadFrame, SageError) as error:
        what = f"the record of {kept.letter.id} cannot be read: {error}"
        raise UnknownLetter(what, "Does the flow still have the classes of its records?") from error


def _encoded(letter: DeadLetter, types: RecordTypes) -> tuple[list[bytes], str]:
    """Return the record as buffers, or why it cannot be kept."""
    try:
        value = letter.value.value if isinstance(letter.value, TurnRecord) else letter.value
        buffers = [bytes(buffer) for buffer in encode_batch(Batch([value]), types, where="a dead letter")]
    except SageError as error:
        return [], error.what
    num_bytes = sum(len(buffer) for buffer in buffers)
    return (buffers, "") if num_bytes <= MAX_RECORD_BYTES else ([], f"it has {num_bytes:,} bytes")


def _name(letter_id: str) -> str:
    return quote(letter_id, safe="") + _SUFFIX
