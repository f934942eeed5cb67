"""Who runs when on a device that chat and embeddings share."""

import random

import pytest

from cluster.serving.sharing import (
    FREE_TOKENS,
    GO_TOKENS,
    LATE_TOKENS,
    MAX_HELD_S,
    ChatNow,
    ChatPace,
    Go,
    OldestText,
    SharingMode,
    TurnBudget,
    held_until_s,
    mode_for,
    must_rest,
    next_go,
)
from sage.base.inference import ServiceClass

INTERACTIVE, STANDARD, BATCH = ServiceClass.INTERACTIVE, ServiceClass.STANDARD, ServiceClass.BATCH
GATED, ALTERNATING, PINNED = SharingMode.GATED, SharingMode.ALTERNATING, SharingMode.PINNED
DECODING = ChatNow(num_running=4, busy=0.5, step_s=0.015, chunk_s=0.045)
READING = ChatNow(num_running=4, num_lacking=1, busy=0.5, step_s=0.015, chunk_s=0.045)


def oldest(service_class: ServiceClass = STANDARD, held_until_s: float = 20.0) -> OldestText:
    return OldestText(service_class, held_until_s)


@pytest.mark.parametrize("mode", list(SharingMode))
def test_without_chat_everything_goes_at_once(mode: SharingMode) -> None:
    assert next_go(mode, ChatNow(), oldest(), 10.0) == Go(FREE_TOKENS)


def test_gated_texts_run_meekly_beside_decoding_and_pause_while_a_prompt_is_read() -> None:
    assert next_go(GATED, DECODING, oldest(), 10.0) == Go(GO_TOKENS, is_meek=True, rests=True)
    assert next_go(GATED, READING, oldest(), 10.0) is None


def test_a_text_that_somebody_waits_for_is_not_left_to_time_that_nobody_wants() -> None:
    assert next_go(GATED, DECODING, oldest(INTERACTIVE), 10.0) == Go(GO_TOKENS, is_alone=True, rests=True)
    assert next_go(GATED, READING, oldest(INTERACTIVE), 10.0) is None


def test_a_micro_batch_rests_amid_its_work_while_a_prompt_is_read_but_not_beyond_its_time() -> None:
    assert must_rest(READING, held_until_s=10.1, now_s=10.0)
    assert not must_rest(DECODING, held_until_s=10.1, now_s=10.0)
    assert not must_rest(READING, held_until_s=10.0, now_s=10.0)


@pytest.mark.parametrize("mode", [GATED, ALTERNATING])
def test_a_text_held_as_long_as_it_may_goes_pause_or_not(mode: SharingMode) -> None:
    assert next_go(mode, READING, oldest(held_until_s=10.0), 10.0) == Go(LATE_TOKENS, is_alone=True)
    assert next_go(mode, DECODING, oldest(held_until_s=10.0), 10.0) == Go(GO_TOKENS, is_alone=True)


def test_alternating_texts_go_only_as_far_as_their_turn_reaches() -> None:
    assert next_go(ALTERNATING, DECODING, oldest(), 10.0) is None
    turn = ChatNow(4, 0, 0.7, 0.02, 0.045, turn_until_s=10.005)
    assert next_go(ALTERNATING, turn, oldest(), 10.0) == Go(40)
    assert next_go(ALTERNATING, turn, oldest(), 10.0035) is None


def test_pinned_texts_do_not_look_at_prompts() -> None:
    assert next_go(PINNED, READING, oldest(), 10.0) == Go(GO_TOKENS, is_alone=True)


@pytest.mark.parametrize(
    ("busy", "target_s", "mode"),
    [
        (0.5, None, GATED),
        (0.7, None, GATED),
        (0.7, 0.050, GATED),
        (0.7, 0.060, ALTERNATING),
        (0.5, 0.060, GATED),
        (0.5, 0.070, PINNED),
        (0.7, 0.070, ALTERNATING),
    ],
)
def test_the_mode_follows_load_and_target(busy: float, target_s: float | None, mode: SharingMode) -> None:
    chat = ChatNow(4, 0, busy, 0.015, 0.045)
    assert mode_for(chat, SharingMode.AUTO, target_s) is mode
    assert mode_for(chat, PINNED, target_s) is PINNED


def test_a_text_is_held_by_its_class_its_own_time_and_the_setting() -> None:
    assert held_until_s(INTERACTIVE, None, 10.0, None) == pytest.approx(10.06)
    assert held_until_s(BATCH, None, 10.0, None) == 15.0
    assert held_until_s(BATCH, 1.0, 10.0, None) == 10.5
    assert held_until_s(INTERACTIVE, None, 10.0, 0.2) == pytest.approx(10.2)


def test_time_behind_other_texts_is_not_time_that_chat_took() -> None:
    assert held_until_s(STANDARD, None, 10.0, None, first_s=14.0) == 15.0
    assert held_until_s(STANDARD, None, 10.0, None, first_s=9.0) == 11.0
    assert held_until_s(STANDARD, 8.0, 10.0, None, first_s=14.0) == 14.0, "its own deadline counts from when it came"
    assert held_until_s(INTERACTIVE, None, 10.0, None, first_s=14.0) == pytest.approx(10.06), "somebody waits for it"


def test_a_turn_is_what_the_target_leaves_less_what_was_overrun() -> None:
    turns = TurnBudget()
    assert turns.budget_s(0.050, 0.020) == pytest.approx(0.025)
    turns.overran(0.010)
    assert turns.budget_s(0.050, 0.020) == pytest.approx(0.015)
    assert turns.budget_s(0.050, 0.020) == pytest.approx(0.025), "a step without embeddings pays it back"
    assert turns.budget_s(0.020, 0.020) == 0.0


def test_a_pace_tells_load_and_both_kinds_of_steps() -> None:
    pace, now_s = ChatPace(), 0.0
    for number in range(2000):
        has_read = number % 10 == 0
        took_s = 0.040 if has_read else 0.010
        pace.stepped(now_s, now_s + took_s, has_read=has_read)
        now_s += took_s + 0.013
    assert pace.step_s == pytest.approx(0.010)
    assert pace.chunk_s == pytest.approx(0.040)
    assert pace.busy == pytest.approx(0.5, abs=0.05)


def test_no_text_is_held_longer_than_it_may_be_whatever_chat_does() -> None:
    """Virtual time: chat reads prompts in bursts, texts of all classes and lengths come; one worker of our own."""
    rng, now_s, waiting = random.Random(5), 0.0, list[tuple[float, ServiceClass]]()
    reads_until_s, went_while_reading, longest = 0.0, 0, dict.fromkeys(ServiceClass, 0.0)
    while now_s < 60.0:
        now_s += 0.001
        if rng.random() < 0.004:
            reads_until_s = now_s + rng.uniform(0.05, 2.0)
        if rng.random() < 0.02:
            waiting.append((now_s, rng.choice(list(ServiceClass))))
        if not waiting:
            continue
        came_s, service_class = waiting[0]
        chat = READING if now_s < reads_until_s else DECODING
        until_s = held_until_s(service_class, None, came_s, None)
        go = next_go(GATED, chat, OldestText(service_class, until_s), now_s)
        if go is not None:
            waiting.pop(0)
            if chat is READING:
                went_while_reading += 1
                assert now_s >= until_s
                assert not go.is_meek
            longest[service_class] = max(longest[service_class], now_s - came_s)
            now_s += 0.004
    behind_s = MAX_HELD_S[BATCH] + 0.01  # texts are taken in order: one may stand behind a patient one
    assert went_while_reading > 0
    assert all(held_s <= behind_s for held_s in longest.values())
