"""Reads fields of a user's records and sets them. Knows nothing of what a field is for.

A record has fields where it is a mapping, a Struct, a dataclass, a named tuple or an object of a user's class; a str, a
number or a list has none, whatever attributes Python gives it. Setting a field never changes the caller's record: a
mapping becomes a new dict, everything else is copied by its own `replace`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sage.base.errors import InvalidRequest
from sage.flow.spec import Field, Into
from sage.flow.template import Part, parts_of_template

Get = Callable[[Any], Any]
Set = Callable[[Any, Any], Any]


def getter(field: Field) -> Get:
    """Return what reads `field` of a record: a field's name, or the user's own function."""
    if callable(field):
        return field
    return lambda record: field_of(record, field)


def text_getter(field: Field | None) -> Callable[[Any], str]:
    """Return what makes a text of a record: a field's name, a template, a function; None: the record itself."""
    if field is None:
        return lambda record: _text(record, "the record")
    if callable(field):
        return lambda record: _text(field(record), "what the function returned")
    if field.isidentifier():
        return lambda record: _text(field_of(record, field), f"the field {field!r}")
    return template_getter(field)


def template_getter(template: Field) -> Callable[[Any], str]:
    """Return what renders `template` with a record; `{}` is the record itself. A function is taken as it is."""
    if callable(template):
        return text_getter(template)
    parts = parts_of_template(template)
    return lambda record: "".join(_rendered(part, record) for part in parts)


def _rendered(part: Part, record: Any) -> str:
    literal, name = part
    if name is None:
        return literal
    return f"{literal}{record if name == '' else field_of(record, name)}"


def field_of(record: Any, name: str) -> Any:
    """Return the field `name`; raises InvalidRequest, saying which fields there are, where it is missing."""
    if isinstance(record, Mapping):
        if name in record:
            return record[name]
    elif _has_fields(record) and hasattr(record, name):
        return getattr(record, name)
    raise _missing(record, name)


def setter(into: Into) -> Set:
    """Return what puts a reply into a record: `set(record, reply) -> new record`."""
    if into is None:
        return lambda record, reply: reply
    if callable(into):
        return into
    return lambda record, reply: with_field(record, into, reply)


def with_field(record: Any, name: str, value: Any) -> Any:
    """Return a copy of `record` whose field `name` is `value`; raises InvalidRequest where it can have none."""
    if isinstance(record, Mapping):
        return {**record, name: value}
    if name in _declared(record):
        if isinstance(record, msgspec.Struct):
            return msgspec.structs.replace(record, **{name: value})
        if isinstance(record, tuple):
            return record._replace(**{name: value})  # type: ignore[attr-defined]  # a named tuple: it declares fields
        return dataclasses.replace(record, **{name: value})
    raise InvalidRequest(
        f"the field {name!r} cannot be set on a record of type {type(record).__name__}",
        "Let the record be a dict, or a Struct or dataclass with that field, or give into= a function (record, reply).",
        param=name,
    )


def _declared(record: Any) -> tuple[str, ...]:
    if isinstance(record, msgspec.Struct):
        return record.__struct_fields__
    if dataclasses.is_dataclass(record):
        return tuple(field.name for field in dataclasses.fields(record))
    names = getattr(type(record), "_fields", ()) if isinstance(record, tuple) else ()
    return tuple(names)


def _has_fields(record: Any) -> bool:
    return bool(_declared(record)) or type(record).__module__ != "builtins"


def _missing(record: Any, name: str) -> InvalidRequest:
    if isinstance(record, Mapping):
        known: tuple[str, ...] = tuple(str(key) for key in record)
    else:
        known = _declared(record)
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    what = f"it has {shown}" if known else f"a {type(record).__name__} has no fields"
    return InvalidRequest(
        f"the record has no field {name!r}: {what}", "Name a field that it has, or give a function.", param=name
    )


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    raise InvalidRequest(
        f"{what} is no text but a {type(value).__name__}", "Give a template or a function that makes a text of it."
    )
