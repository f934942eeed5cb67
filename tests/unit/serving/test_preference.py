"""Which requests must have time to spare."""

import pytest

from cluster.serving.preference import STRENGTH, Preference
from cluster.serving.ticket import Ticket
from sage.base.inference import ServiceClass
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
