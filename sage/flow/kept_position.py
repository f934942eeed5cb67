"""What a checkpoint has kept of a file that is written: of the form that is written now, or refused. Knows no file."""

from typing import Any, TypeVar

import msgspec

from sage.base.errors import SinkUnwritable

T = TypeVar("T")


def position_as(form: type[T], position: Any, path: str) -> T:
    """Return where a writing of `path` was; raises SinkUnwritable where that was kept in another form.

    An earlier version may have kept less of it, or the path was a URL then and is a file of this machine now.
    """
    try:
        return msgspec.convert(position, form)
    except msgspec.ValidationError as error:
        raise SinkUnwritable(
            f"how far {path} was written is kept in a form that is not read here: {error}",
            "Go on with the path, and the version of SAGE, that the checkpoint was taken with; or begin anew: "
            'resume="never".',
        ) from error
