"""What a thread that does not end is doing, by its frames. Knows nothing of why it should end."""

import sys
import threading
from pathlib import Path
from types import FrameType

import pykka

from operators.failure import GENERATED

_TREE = Path(__file__).resolve().parents[2]
_OURS = tuple(str(_TREE / package) + "/" for package in ("sage", "operators", "cluster", "gateway", "benchmarks"))
_LIBRARY = str(Path(threading.__file__).parent) + "/"
_PYKKA = str(Path(pykka.__file__).parent) + "/"


def describe_thread(thread: threading.Thread) -> str:
    """Return the user's function that `thread` is in, with file and line; else the innermost function of all."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "a thread that has just ended"
    return _describe(_user_frame(frame) or frame)


def _user_frame(innermost: FrameType) -> FrameType | None:
    """Return the outermost frame that is neither ours nor the standard library's: what the user gave us to call."""
    found: FrameType | None = None
    frame: FrameType | None = innermost
    while frame is not None:
        if not _is_machinery(frame.f_code.co_filename):
            found = frame
        frame = frame.f_back
    return found


def _is_machinery(file: str) -> bool:
    is_library = file.startswith(_LIBRARY) and "site-packages" not in file
    return is_library or file == GENERATED or file.startswith((*_OURS, _PYKKA, "<frozen"))


def _describe(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
