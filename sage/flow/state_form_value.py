"""The form of a step's state as it is written down and travels. Knows no step."""

import msgspec


class StateForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kind`: what is kept, and by which windows, in words; "": nobody knows. `states`: name and kind, as declared."""

    kind: str
    states: tuple[tuple[str, str], ...] = ()
