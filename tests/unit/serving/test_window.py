"""How many prompts engines are given: as few as keep them fast, and no more than the window between two tokens."""

import pytest

from cluster.serving.plane import Plane
from cluster.serving.window import BEGIN_TOKENS, MAX_TOKENS, MIN_TOKENS, MIN_WORK_S, PromptWindow, is_adaptive
from sage.base.errors import UnknownPolicy
from tests.unit.serving.arrange import CheckedPlane, chat, chat_engine, dispatched


def driven(
    overhead_tokens: float, num: int = 4_000, *, token_s: float = 1e-3, tenants: tuple[str, ...] = ("a",)
) -> PromptWindow:
    """Return a window before an engine that loses `overhead_tokens` for each window's worth that it is given."""
    window = PromptWindow(is_adaptive=True)
    for at in range(num):
        took_s = token_s * (1_000 + 1_000 * overhead_tokens / window.tokens)
        window.worked_off(1_000, took_s, tenants[at % len(tenants)])
    return window


def test_an_engine_that_loses_nothing_by_it_gets_the_smallest_window() -> None:
    assert driven(0.0).tokens <= 2 * MIN_TOKENS


@pytest.mark.parametrize("overhead_tokens", [64.0, 400.0])
def test_the_window_settles_where_twice_as_much_brings_four_hundredths(overhead_tokens: float) -> None:
    window = driven(overhead_tokens)
    speeds = [1.0 / (1.0 + overhead_tokens / tokens) for tokens in (0.7 * window.tokens, 2.8 * window.tokens)]
    assert 0.85 <= speeds[0] / speeds[1] <= 0.99
    assert MIN_TOKENS <= window.tokens <= 2 * MAX_TOKENS


def test_a_fast_engine_is_given_what_it_works_off_in_half_a_second() -> None:
    window = driven(0.0, token_s=1e-4)
    assert MIN_WORK_S * 1e4 <= window.tokens <= 2.2 * MIN_WORK_S * 1e4


def test_where_several_tenants_ask_a_fast_engine_gets_the_smallest_window_too() -> None:
    assert driven(0.0, token_s=1e-4, tenants=("a", "b")).tokens <= 2 * MIN_TOKENS


def test_first_tokens_that_come_together_are_of_an_engine_that_is_fast_enough() -> None:
    assert driven(0.0, token_s=0.0).tokens >= MAX_TOKENS


def test_a_fixed_window_never_changes_and_holds_nothing_back() -> None:
    window = PromptWindow(is_adaptive=False)
    for _ in range(500):
        window.worked_off(1_000, 1.0, "a")
    assert window.tokens == float("inf")


def test_the_next_prompt_is_given_once_the_one_before_has_its_first_token() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="priority", route="least_work", window="adaptive"))
    plane.up(chat_engine(max_running=8))
    long = 4 * int(BEGIN_TOKENS) + 400
    first = plane.submit(*(chat(f"r{n}", num_characters=long) for n in range(3)))
    assert dispatched(first) == [("c1", ["r0"])]
    assert dispatched(plane.first("r0")) == [("c1", ["r1"])]
    assert dispatched(plane.end("c1", "r0")) == []
    assert dispatched(plane.end("c1", "r1")) == [("c1", ["r2"])]


def test_short_prompts_fill_the_window_together() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="priority", route="least_work", window="adaptive"))
    plane.up(chat_engine(max_running=8))
    ids = [f"r{n}" for n in range(6)]
    assert dispatched(plane.submit(*map(chat, ids))) == [("c1", ids)]


def test_a_cancelled_prompt_leaves_its_place_in_the_window() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="priority", route="least_work", window="adaptive"))
    plane.up(chat_engine(max_running=8))
    plane.submit(chat("gone", num_characters=4 * int(BEGIN_TOKENS) + 400), chat("next"))
    plane.cancel("gone")
    assert dispatched(plane.end("c1", "gone")) == [("c1", ["next"])]


def test_an_unknown_window_is_refused_with_the_nearest() -> None:
    assert is_adaptive("adaptive")
    with pytest.raises(UnknownPolicy, match="Did you mean 'fixed'"):
        Plane(window="fix")
