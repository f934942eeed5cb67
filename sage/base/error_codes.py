"""From an error's code back to its class. Knows no error by name."""

from sage.base.errors import SageError


def error_classes() -> dict[str, type[SageError]]:
    """Return every concrete error class by its code."""
    found: dict[str, type[SageError]] = {}
    waiting: list[type[SageError]] = [SageError]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if "code" in cls.__dict__ and cls is not SageError:
            found[cls.code] = cls
    return found
