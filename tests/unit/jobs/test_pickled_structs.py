"""Structs of a script, taken apart and put together again: the same fields, options and methods."""

import io
import pickletools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import cloudpickle
import msgspec
import pytest
from msgspec import Struct

from cluster.jobs.pickled_structs import reduced_struct, travels_by_name

T = TypeVar("T")


def structs() -> tuple[type[Struct], ...]:
    """Return classes that no other process could import."""

    class Plain(Struct, frozen=True, order=True):
        """What it is."""

        x: int
        label: str = "none"

        def again(self) -> "Plain":
            return Plain(self.x + 1, self.label)

        @property
        def doubled(self) -> int:
            return 2 * self.x

        @classmethod
        def zero(cls) -> "Plain":
            return cls(0)

    class Keyword(Struct, kw_only=True, rename="camel", tag="key", forbid_unknown_fields=True):
        long_name: int
        items: list[int] = []
        made: dict[str, int] = msgspec.field(default_factory=dict)

    class Below(Keyword, array_like=True):
        more: str = "more"

    class Boxed(Struct, Generic[T]):
        content: T

    return Plain, Keyword, Below, Boxed


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type(Struct)) and not travels_by_name(obj):
            return reduced_struct(obj)
        return super().reducer_override(obj)


def travelled(value: Any) -> Any:
    out = io.BytesIO()
    Pickler(out).dump(value)
    pickletools.dis(out.getvalue(), out=io.StringIO())
    return cloudpickle.loads(out.getvalue())


@pytest.fixture
def both() -> tuple[tuple[type[Struct], ...], tuple[type[Struct], ...]]:
    before = structs()
    return before, travelled(before)


MAKE: list[Callable[..., Struct]] = [
    lambda plain, keyword, below, boxed: plain(3),
    lambda plain, keyword, below, boxed: plain(3, label="x").again(),
    lambda plain, keyword, below, boxed: plain.zero(),
    lambda plain, keyword, below, boxed: keyword(long_name=1),
    lambda plain, keyword, below, boxed: below("less", long_name=2, items=[1]),
    lambda plain, keyword, below, boxed: boxed([7]),
]


@pytest.mark.parametrize("make", MAKE)
def test_an_instance_is_the_same_on_the_other_side(make: Callable[..., Struct], both: Any) -> None:
    before, after = (make(*classes) for classes in both)
    assert type(after) is not type(before)
    assert repr(after) == repr(before)
    assert msgspec.json.encode(after) == msgspec.json.encode(before)
    assert msgspec.json.decode(msgspec.json.encode(after), type=type(after)) == after


def test_options_methods_and_words_travel_along(both: Any) -> None:
    plain, keyword, _, _ = both[1]
    assert plain.__doc__ == "What it is."
    assert plain(2).doubled == 4
    assert plain(1) < plain(2)
    assert hash(plain(1)) == hash(plain(1))
    with pytest.raises(AttributeError):
        plain(1).x = 2
    with pytest.raises(TypeError):
        keyword(1)
    assert keyword(long_name=1).items is not keyword(long_name=1).items
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"type":"key","longName":1,"other":2}', type=keyword)


def test_a_class_travels_once_however_often_it_is_met() -> None:
    plain, *_ = structs()
    one, same, again = travelled((plain, plain, plain(1)))
    assert one is same
    assert type(again) is one


def test_what_can_be_imported_travels_by_name() -> None:
    assert travels_by_name(msgspec.structs.FieldInfo)
    assert not travels_by_name(structs()[0])
