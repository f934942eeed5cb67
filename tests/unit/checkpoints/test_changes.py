"""What has changed is found by the objects themselves."""

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from cluster.checkpoints.changes import are_unchanging, changed_items

DICTS = st.dictionaries(st.integers(0, 8) | st.text(max_size=1), st.integers())


@given(DICTS, DICTS)
def test_a_dict_and_what_has_changed_make_the_next(old: dict[object, int], new: dict[object, int]) -> None:
    keys, values, gone = changed_items(old, new)
    made = {**old, **dict(zip(keys, values, strict=True))}
    for key in gone:
        del made[key]
    assert made == new


def test_what_is_as_before_is_not_told() -> None:
    old: dict[Hashable, str] = {number: f"value {number}" for number in range(1000)}
    new = old.copy()
    new[7] = "other"
    new["more"] = "new"
    assert changed_items(old, new) == ([7, "more"], ["other", "new"], [])
    del new[3]
    assert changed_items(old, new) == ([7, "more"], ["other", "new"], [3])


def test_values_that_may_change_in_place_are_known() -> None:
    assert are_unchanging([1, "a", None, 2.5, b"b", True, (1, "a")])
    assert are_unchanging([])
    for value in ([1], {"a": 1}, {1}, (1, [2]), ((1,),), bytearray(b"a"), object()):
        assert not are_unchanging([1, value])
