"""What has changed is found by the objects themselves."""

from collections.abc import Hashable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster.checkpoints.changes import Change, are_unchanging, changes

DICTS = st.dictionaries(st.integers(0, 8) | st.text(max_size=1), st.integers())


def changed(old: Mapping[Hashable, Any], new: Mapping[Hashable, Any], len_slice: int = 3) -> Change:
    """Return what has changed, of all slices."""
    slices = list(changes(old, new, len_slice))
    assert all(len(each) <= len_slice for part in slices for each in part)
    keys, values, gone = ([each for part in column for each in part] for column in zip(*slices, strict=True))
    return keys, values, gone


@given(DICTS, DICTS)
def test_a_dict_and_what_has_changed_make_the_next(old: dict[Hashable, int], new: dict[Hashable, int]) -> None:
    if not old and not new:
        assert not list(changes(old, new))
        return
    keys, values, gone = changed(old, new)
    made = {**old, **dict(zip(keys, values, strict=True))}
    for key in gone:
        del made[key]
    assert made == new


def test_what_is_as_before_is_not_told() -> None:
    old: dict[Hashable, str] = {number: f"value {number}" for number in range(1000)}
    new = old.copy()
    new[7] = "other"
    new["more"] = "new"
    assert changed(old, new) == ([7, "more"], ["other", "new"], [])
    del new[3]
    assert changed(old, new) == ([7, "more"], ["other", "new"], [3])
    assert changed(new, {}) == ([], [], list(new))


def test_values_that_may_change_in_place_are_known() -> None:
    assert are_unchanging([1, "a", None, 2.5, b"b", True, (1, "a")])
    assert are_unchanging([])
    for value in ([1], {"a": 1}, {1}, (1, [2]), ((1,),), bytearray(b"a"), object()):
        assert not are_unchanging([1, value])
