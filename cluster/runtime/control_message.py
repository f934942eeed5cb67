"""What all messages of control have in common, and how errors travel in them. Knows no message in particular."""

import msgspec

from sage.base.errors import RecordFailed, SageError
from sage.base.inference import Failure

MAX_TEXT_CHARS = 20_000
MAX_NOTES = 20


class ControlMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """What all messages of control have in common: their type's name is their tag."""


class RemoteFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error of a job as it travels: with the user's frames and the notes that were added to it."""

    failure: Failure
    user_traceback: str = ""
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(error: SageError) -> "RemoteFailure":
        """Return `error` with its texts cut at MAX_TEXT_CHARS: what users raise may be as long as their records."""
        failure = Failure.of(error)
        shown = msgspec.structs.replace(failure, what=_cut(failure.what), do=_cut(failure.do))
        notes = tuple(_cut(str(note)) for note in getattr(error, "__notes__", ())[:MAX_NOTES])
        return RemoteFailure(shown, _cut(getattr(error, "user_traceback", "")), notes)

    def error(self) -> SageError:
        """Return the error this was made from, without its cause."""
        error = self.failure.error()
        if isinstance(error, RecordFailed):
            error.user_traceback = self.user_traceback
        for note in self.notes:
            error.add_note(note)
        return error


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}... ({len(text):,} characters)"
