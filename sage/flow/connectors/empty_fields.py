"""What an empty text stands for in the fields of a type that is made from texts. Pure; knows no format."""

from typing import Any, Final

import msgspec

NOTHING: Final = object()
"""The field is left out: its default holds, or it is missing."""


def empty_values(as_type: type) -> dict[str, object]:
    """Return, by field, what an empty text is: None where the field may be that, else NOTHING. Texts stay texts."""
    info: Any = msgspec.inspect.type_info(as_type)
    fields = getattr(info, "fields", ())
    return {
        field.encode_name: _empty_value(field) for field in fields if not _takes(field.type, msgspec.inspect.StrType)
    }


def _empty_value(field: Any) -> object:
    return None if field.required and _takes(field.type, msgspec.inspect.NoneType) else NOTHING


def _takes(info: Any, kind: type) -> bool:
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return any(isinstance(option, kind | msgspec.inspect.AnyType) for option in options)
