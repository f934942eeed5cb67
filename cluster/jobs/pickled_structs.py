"""Struct classes by value: cloudpickle rebuilds a class without its annotations, and a Struct is nothing without them.

What is here takes classes apart and puts them together; it knows no bytes.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

_OPTIONS = (
    "frozen", "eq", "order", "array_like", "gc", "omit_defaults", "repr_omit_defaults", "weakref", "dict", "cache_hash",
    "tag", "tag_field", "forbid_unknown_fields",
)  # fmt: skip
_MADE_ANEW = ("__dict__", "__slots__", "__weakref__", "__parameters__")

Reduced = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any], None, None, Callable[..., None]]


def reduced_struct(cls: type[Struct]) -> Reduced:
    """Return how pickle makes `cls` anew: first the class with its fields, then what may refer to it: its methods."""
    own = inspect.get_annotations(cls)
    defaults = {name: value for name, value in _defaults(cls).items() if name in own}
    names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    options = {option: getattr(cls.__struct_config__, option) for option in _OPTIONS}
    options["rename"] = {name: encoded for name, encoded in names if name in own and name != encoded}
    options["kw_only"] = any(_is_keyword_only(cls, name) for name in own)
    body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__annotations__": dict(own)}
    if "__orig_bases__" in cls.__dict__:
        body["__orig_bases__"] = cls.__dict__["__orig_bases__"]
    rest = {name: value for name, value in cls.__dict__.items() if name not in (*_MADE_ANEW, *own, *body)}
    return (
        struct_again,
        (type(cls), cls.__name__, cls.__bases__, body, (defaults, options)),
        rest,
        None,
        None,
        set_all,
    )


def struct_again(
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    body: dict[str, Any],
    rest: tuple[dict[str, Any], dict[str, Any]],
) -> type[Struct]:
    """Return the class that was taken apart, without its methods."""
    defaults, options = rest
    made = {field: msgspec.field(**default) for field, default in defaults.items()}
    cls: type[Struct] = metaclass(name, bases, {**body, **made}, **options)
    return cls


def set_all(cls: type, attributes: Mapping[str, Any]) -> None:
    """Give `cls` its methods and what else it holds."""
    for name, value in attributes.items():
        setattr(cls, name, value)


def travels_by_name(cls: type) -> bool:
    """Say whether the other side can import `cls`: it stands in a module that is not the script."""
    module = sys.modules.get(cls.__module__)
    if module is None or cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        return False
    found: object = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def _defaults(cls: type[Struct]) -> dict[str, dict[str, Any]]:
    """Return the arguments of `msgspec.field` for every field that has a default."""
    given = cls.__struct_fields__[len(cls.__struct_fields__) - len(cls.__struct_defaults__) :]
    pairs = zip(given, cls.__struct_defaults__, strict=True)
    return {name: _field(value) for name, value in pairs if value is not NODEFAULT}


def _field(default: Any) -> dict[str, Any]:
    factory = getattr(default, "factory", None)
    is_factory = type(default).__module__.startswith("msgspec") and factory is not None
    return {"default_factory": factory} if is_factory else {"default": default}


def _is_keyword_only(cls: type[Struct], field: str) -> bool:
    found = inspect.signature(cls).parameters.get(field)
    return found is not None and found.kind is inspect.Parameter.KEYWORD_ONLY
