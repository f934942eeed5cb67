"""What every error raised on purpose is. Knows none in particular: they are in `errors`."""

from typing import ClassVar


class SageError(Exception):
    """What happened (`what`, with values) and what to do about it (`do`).

    `param` names the parameter at fault, if one is; `retry_after_s` is when a new try makes sense, if it does.
    """

    code: ClassVar[str] = "SAGE-0000"

    def __init__(
        self, what: str, do: str = "", *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(what, do)
        self.what = what
        self.do = do
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        text = f"[{self.code}] {self.what}"
        return f"{text}\n  {self.do}" if self.do else text


class CallerError(SageError):
    """The caller's fault: the same call fails again."""


class WorldError(SageError):
    """The machine's or the moment's fault: the same call may succeed later or elsewhere."""
