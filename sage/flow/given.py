"""What users give beside functions of records: paths, texts, names, flags; refused at their line. Knows no step."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sage.flow.check_numbers import Fault, texts, yes_or_no
from sage.flow.where import refusal

F = TypeVar("F", bound=Callable[..., Any])


def refuse(faults: Iterable[Fault]) -> None:
    """Raise FlowInvalid for the first of `faults`, if there is one."""
    for fault in faults:
        raise refusal(fault.what, fault.do, param=fault.param)


def checked_flag(flag: bool, param: str) -> bool:
    """Return what is True or False; raises FlowInvalid: "no" would count as yes."""
    refuse(yes_or_no(**{param: flag}))
    return flag


def checked_path(path: str | os.PathLike[str], param: str = "path") -> str:
    """Return a path as text; raises FlowInvalid for what is none, and for an empty one."""
    given: object = path
    plain: object = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(plain, str) or not plain:
        raise refusal(f"{param} is {_shown(given)}; it is a path", 'For example "data/lines.txt".', param=param)
    return plain


def checked_text(text: str, param: str, do: str = "") -> str:
    """Return a text; raises FlowInvalid for an empty one, and for what is none."""
    given: object = text
    refuse(texts(do, **{param: "" if given is None else given}))
    return text


def checked_function(fn: F | None, param: str) -> F | None:
    """Return a function of the record, or None; raises FlowInvalid."""
    if fn is not None and not callable(fn):
        raise refusal(f"{param} is {_shown(fn)}; it is a function of the record", param=param)
    return fn


def checked_names(names: str | Iterable[str], param: str, do: str) -> tuple[str, ...]:
    """Return one name, or several, each once; raises FlowInvalid where there is none."""
    given: object = (names,) if isinstance(names, str) else names
    chosen = tuple(given) if isinstance(given, Iterable) else ()
    if not chosen or not all(isinstance(name, str) and name for name in chosen) or len(set(chosen)) < len(chosen):
        raise refusal(f"{param} are names, each once, got {names!r:.80}", do, param=param)
    return chosen


def refuse_one_text(names: object, param: str, do: str) -> None:
    """Raise FlowInvalid for a text where several names are meant: it would be its characters."""
    if isinstance(names, str):
        raise refusal(f"{param} are names, each once, got {names!r:.80}", do, param=param)


def checked_mapping(given: Mapping[str, Any] | None, param: str) -> dict[str, Any]:
    """Return names and what they stand for; raises FlowInvalid for what has none. None is empty."""
    if given is None:
        return {}
    plain: object = given
    if not isinstance(plain, Mapping) or not all(isinstance(name, str) for name in plain):
        raise refusal(f"{param} is {_shown(given)}; it is a dict", f'Write {param}={{"name": ...}}.', param=param)
    return dict(plain)


def _shown(given: object) -> str:
    return f"{given!r:.80} ({type(given).__name__})"
