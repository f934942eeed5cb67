"""What was not used for long is forgotten."""

from random import Random

import pytest

from cluster.serving.recent import Recent


@pytest.mark.parametrize("seed", range(10))
def test_the_entries_used_last_are_kept_and_never_twice_as_many(seed: int) -> None:
    rng, recent, last_used = Random(seed), Recent[int, int](10), dict[int, int]()
    for step in range(500):
        key = rng.randint(0, 40)
        if rng.random() < 0.5:
            recent.put(key, step)
            last_used.pop(key, None)
            last_used[key] = step
        elif (found := recent.get(key)) is not None:
            assert found == last_used.pop(key)
            last_used[key] = found
        for kept in list(last_used)[-10:]:
            assert kept in recent._young or kept in recent._old
        assert len(recent) <= 20


def test_what_is_not_there_is_none() -> None:
    assert Recent[str, int](1).get("a") is None
