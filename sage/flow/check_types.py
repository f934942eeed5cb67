"""Whether what records are to be made into is a type at all. Makes none.

msgspec would say more, but leaves notes of its own in the class: one of the user's script could travel no more then.
"""

from collections.abc import Iterator
from typing import Any, NewType, TypeVar, get_origin

from sage.flow.check_numbers import Fault

_NAMES_OF_TYPES = (type, NewType, TypeVar)


def types_of_records(**types: Any) -> Iterator[Fault]:
    """Yield a fault for each that is no type; None is not looked at.

    >>> [fault.what for fault in types_of_records(a=dict[str, int], b=5, c="Order", d=None, e=int | None, f=Any)]
    ['b=5 is no type', "c='Order' is no type"]
    """
    for param, of in types.items():
        if of is None or of is Any or isinstance(of, _NAMES_OF_TYPES) or get_origin(of) is not None:
            continue
        do = "Name a dataclass, Struct, TypedDict or NamedTuple, or a type like dict[str, int], without quotes."
        yield Fault(f"{param}={of!r:.80} is no type", do, param)
