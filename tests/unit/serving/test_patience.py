"""When first tokens are due, as settings say."""

import pytest

from cluster.serving.configured import plane_from_settings
from cluster.serving.patience import USUAL, Patience, patience_from_settings
from cluster.serving.plane import Plane
from cluster.serving.size import Size
from cluster.serving.ticket import ALIKE_TOKENS, lane_of, ticket_for
from sage.base.config import load_settings
from sage.base.errors import ConfigInvalid, Overloaded
from sage.base.inference import ServiceClass
from sage.base.settings import PlaneSettings
from tests.unit.serving.arrange import BATCH, INTERACTIVE, STANDARD, CheckedPlane, chat, chat_engine

SHORT = Patience(0.5, 5.0, 50.0, prompt_tokens_per_s=1_000.0)


@pytest.mark.parametrize(("service_class", "due_s"), [(INTERACTIVE, 2.5), (STANDARD, 7.0), (BATCH, 52.0)])
def test_a_first_token_is_due_by_class_and_prompt(service_class: ServiceClass, due_s: float) -> None:
    request = chat("a", service_class)
    ticket = ticket_for(request, lane_of(request), 1, 100.0, Size(2_000), patience=SHORT)
    assert ticket.due_s == 100.0 + due_s
    assert ticket.order_s == 100.0 + due_s - ALIKE_TOKENS / 1_000.0


def test_settings_say_the_usual_by_default() -> None:
    assert patience_from_settings(PlaneSettings()) == USUAL


def warm(plane: Plane) -> CheckedPlane:
    """Return a plane whose one engine took a second for a first token, again and again, and works on one now."""
    checked = CheckedPlane(plane)
    checked.up(chat_engine(max_running=1))
    for number in range(12):
        checked.submit(chat(f"w{number}"))
        checked.now_s += 1.0
        checked.first(f"w{number}")
        checked.end("c1", f"w{number}")
    checked.submit(chat("running"))
    return checked


@pytest.mark.parametrize(("interactive_s", "is_let_in"), [(0.5, False), (50.0, True)])
def test_what_is_due_sooner_is_refused_sooner(interactive_s: float, is_let_in: bool) -> None:
    settings = PlaneSettings(admission="deadline", interactive_s=interactive_s)
    plane = warm(plane_from_settings(["chat"], settings))
    plane.submit(chat("now", INTERACTIVE))
    assert (plane.outcome("now") == "open") is is_let_in
    if not is_let_in:
        assert (plane.failure("now").code, "is due in 0.5 s" in plane.failure("now").what) == (Overloaded.code, True)


@pytest.mark.parametrize("name", ["interactive_s", "standard_s", "batch_s", "prompt_tokens_per_s"])
@pytest.mark.parametrize("value", ["0", "nan", "-1"])
def test_a_patience_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigInvalid):
        load_settings({f"plane.{name}": value})
