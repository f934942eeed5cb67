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


def learned(answers: dict[int, int], *, tenant: str = "default") -> Preference:
    """Return what has seen prompts of so many tokens, alike often, with answers of so many."""
    preference = Preference()
    for _ in range(100):
        for prompt_tokens, answer_tokens in answers.items():
            preference.came_to_work(asked(prompt_tokens, tenant=tenant))
            preference.answered(asked(prompt_tokens, tenant=tenant), answer_tokens)
    return preference


def test_prompts_with_long_answers_must_have_time_to_spare_beside_such_with_short_ones() -> None:
    preference = learned({400: 100, 1_000: 400, 4_000: 60})
    assert preference.came_to_work(asked(1_000)) > 1.1
    assert preference.came_to_work(asked(400)) == preference.came_to_work(asked(4_000)) == 1.0


def test_where_prompts_make_the_work_none_must_have_time_to_spare() -> None:
    preference = learned({500: 20, 2_000: 25, 8_000: 30})
    assert {preference.came_to_work(asked(tokens)) for tokens in (500, 2_000, 8_000)} == {1.0}


def test_who_says_that_its_answer_is_short_is_believed() -> None:
    preference = learned({400: 100, 1_000: 400, 4_000: 60})
    assert preference.came_to_work(asked(1_000, max_tokens=50)) == 1.0


def test_tenants_are_compared_with_themselves() -> None:
    preference = learned({400: 100, 4_000: 60})
    for _ in range(100):
        assert preference.came_to_work(asked(1_000, tenant="talker")) == 1.0
        preference.answered(asked(1_000, tenant="talker"), 2_000)
