"""Which requests must have time to spare."""

import pytest

from cluster.serving.preference import STRENGTH, Preference
from cluster.serving.ticket import Ticket
from sage.base.ids import RequestId
from sage.base.inference import GenerateRequest, Sampling, ServiceClass
from tests.unit.serving.arrange import chat, waiting


def ticket(number: int, cached_share: float) -> Ticket:
    made = waiting(chat(f"r{number}", ServiceClass.INTERACTIVE, num_characters=4_000), number)
    made.cached_tokens = int(cached_share * made.size.prompt_tokens)
    return made


def test_where_nothing_is_cached_nobody_needs_time_to_spare() -> None:
    preference = Preference()
    assert {preference.came(ticket(n, 0.0)) for n in range(200)} == {1.0}


def test_who_has_less_cached_than_others_counts_as_later_and_who_has_more_does_not() -> None:
    preference = Preference()
    for n in range(1_000):
        preference.came(ticket(n, 0.5))
    assert preference.came(ticket(2_000, 0.9)) == 1.0
    assert preference.came(ticket(2_001, 0.0)) == pytest.approx(1.0 + 0.5 * STRENGTH, rel=0.02)


def asked(prompt_tokens: int, *, tenant: str = "default", max_tokens: int | None = None) -> Ticket:
    request = GenerateRequest(
        RequestId("g"), "chat", "x" * (4 * prompt_tokens), Sampling(max_tokens=max_tokens), tenant=tenant
    )
    return waiting(request)


def learned(answers: dict[int, int], *, tenant: str = "default", let_in: int = 1, refused: int = 1) -> Preference:
    """Return what has seen prompts of so many tokens, alike often, with answers of so many; of each as many were let in
    and refused, in turns."""
    preference = Preference()
    for _ in range(100):
        for prompt_tokens, answer_tokens in answers.items():
            for number in range(let_in + refused):
                came = asked(prompt_tokens, tenant=tenant)
                preference.came_to_work(came, 0.0)
                if number < let_in:
                    preference.let_in(came)
            preference.over(asked(prompt_tokens, tenant=tenant), answer_tokens, 0.0)
    return preference


def test_prompts_with_long_answers_must_have_time_to_spare_beside_such_with_short_ones() -> None:
    preference = learned({400: 100, 1_000: 400, 4_000: 60})
    assert preference.came_to_work(asked(1_000), 0.0) > 1.1
    assert preference.came_to_work(asked(400), 0.0) == preference.came_to_work(asked(4_000), 0.0) == 1.0


def test_where_prompts_make_the_work_none_must_have_time_to_spare() -> None:
    preference = learned({500: 20, 2_000: 25, 8_000: 30})
    assert {preference.came_to_work(asked(tokens), 0.0) for tokens in (500, 2_000, 8_000)} == {1.0}


def test_who_says_that_its_answer_is_short_is_believed() -> None:
    preference = learned({400: 100, 1_000: 400, 4_000: 60})
    assert preference.came_to_work(asked(1_000, max_tokens=50), 0.0) == 1.0


def test_tenants_are_compared_with_themselves() -> None:
    preference = learned({400: 100, 4_000: 60})
    for _ in range(100):
        assert preference.came_to_work(asked(1_000, tenant="talker"), 0.0) == 1.0
        preference.over(asked(1_000, tenant="talker"), 2_000, 0.0)


def test_while_all_are_let_in_none_must_have_time_to_spare() -> None:
    preference = learned({400: 100, 1_000: 400, 4_000: 60}, refused=0)
    assert preference.came_to_work(asked(1_000), 0.0) == pytest.approx(1.0, abs=0.1)


def test_the_more_is_refused_the_more_time_to_spare_must_be() -> None:
    some = learned({400: 100, 1_000: 400, 4_000: 60}, let_in=3)
    most = learned({400: 100, 1_000: 400, 4_000: 60}, refused=3)
    assert most.came_to_work(asked(1_000), 0.0) > 1.5 * some.came_to_work(asked(1_000), 0.0)


def test_where_only_little_work_for_its_worth_is_let_in_what_makes_more_than_that_must_have_time_to_spare() -> None:
    sizes = {400: 100, 150: 160, 1_000: 400}
    all_alike, least = learned(sizes), learned(sizes)
    for _ in range(200):
        least.came_to_work(asked(1_000), 0.0)
        cheap = asked(400)
        least.came_to_work(cheap, 0.0)
        least.let_in(cheap)
    assert all_alike.came_to_work(asked(150), 0.0) == 1.0
    assert least.came_to_work(asked(150), 0.0) > 2.0


def test_what_was_asked_before_is_not_let_in_for_another() -> None:
    preference = learned({400: 100, 1_000: 400, 4_000: 60}, refused=3)
    before = preference.came_to_work(asked(1_000), 0.0)
    for _ in range(100):
        preference.let_in(asked(1_000))
    assert preference.came_to_work(asked(1_000), 0.0) == pytest.approx(before, rel=0.01)


def test_answers_that_run_count_until_their_engine_is_done_with_them() -> None:
    sizes = {400: 100, 1_000: 100, 4_000: 60}
    preference = learned(sizes, refused=3)
    running = [asked(1_000) for _ in range(300)]
    for ticket in running:
        ticket.first_s = 0.0
        preference.began(ticket, 0.0)
    for _ in range(20):  # a token takes a second
        ended = asked(400)
        ended.first_s = 0.0
        preference.over(ended, 100, 100.0)
    assert preference.came_to_work(asked(1_000), 300.0) > 3.0
    for ticket in running:
        preference.over(ticket, None, 300.0)
    assert preference.came_to_work(asked(1_000), 300.0) == 1.0
