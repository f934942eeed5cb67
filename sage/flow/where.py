"""The user's line, found by leaving this package's frames. Knows nothing of flows."""

import os
import sys
from types import FrameType

from sage.base.errors import FlowInvalid
from sage.flow.graph import Where

_THIS_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def users_line() -> Where:
    """Return the innermost line that is not of this package: where the user called it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    return Where(frame.f_code.co_filename, frame.f_lineno)


def _is_ours(frame: FrameType) -> bool:
    """Say whether a frame is of this package: also where a dataclass has made the code, which is in no file."""
    file = frame.f_code.co_filename
    of: str = frame.f_globals.get("__name__", "")
    return file.startswith(_THIS_PACKAGE) or (file == "<string>" and of.startswith("sage."))


def refusal(what: str, do: str = "", *, param: str | None = None) -> FlowInvalid:
    """Return the error to raise for what the user just wrote; `what` is put after the user's line."""
    return FlowInvalid(f"{users_line()}: {what}", do, param=param)
