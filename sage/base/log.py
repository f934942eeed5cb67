"""One line an event, with bound fields (job, node, request). Knows nothing of who logs or reads.

structlog is loaded at the first event, so that importing this costs nothing.
"""

import sys
from typing import Protocol, Self

from sage.base.config import load_settings
from sage.base.settings import LogSettings

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log(Protocol):
    """Events in the past tense (`"engine lost"`), with facts as fields: `log.warning("engine lost", engine_id=id)`."""

    def bind(self, **fields: object) -> Self:
        """Return a log whose every event carries `fields`."""
        ...

    def debug(self, event: str, **fields: object) -> object: ...

    def info(self, event: str, **fields: object) -> object: ...

    def warning(self, event: str, **fields: object) -> object: ...

    def error(self, event: str, **fields: object) -> object: ...

    def exception(self, event: str, **fields: object) -> object:
        """Log an error with the traceback of the exception being handled."""
        ...


def set_up_log(settings: LogSettings) -> None:
    """Send events to standard error; called once by a process's entry point, before its first event."""
    import structlog

    people = settings.format == "console"
    shown = [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # rich's would print local variables: prompts
        )
        if people
        else structlog.processors.JSONRenderer(sort_keys=False)
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if people else [structlog.processors.format_exc_info]),
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is at each event: it may be redirected
        cache_logger_on_first_use=False,
    )


def get_log(**fields: object) -> Log:
    """Return a log that carries `fields`; sets logging up by the settings in force where nobody has."""
    import structlog

    if not structlog.is_configured():
        set_up_log(load_settings().log)
    log: Log = structlog.get_logger(**fields)
    return log
