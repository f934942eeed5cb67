"""Stop strings, however the answer is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.engines.stopping import StopScanner


def _through(scanner: StopScanner, pieces: list[str]) -> str:
    shown = ""
    for piece in pieces:
        shown += scanner.feed(piece)
        if scanner.stopped:
            return shown
    return shown + scanner.flush()


_PIECES = st.lists(st.text("abc", max_size=4), max_size=12)
_STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=3)


@given(_PIECES, _STOPS)
def test_the_cut_into_pieces_makes_no_difference(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    cut, letters = StopScanner(stops), StopScanner(stops)
    assert _through(cut, pieces) == _through(letters, list(text))
    assert cut.stopped == letters.stopped


@given(_PIECES, _STOPS)
def test_what_is_shown_holds_no_stop_string_and_is_the_start_of_the_answer(pieces: list[str], stops: list[str]) -> None:
    scanner = StopScanner(stops)
    shown = _through(scanner, pieces)
    text = "".join(pieces)
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert scanner.stopped == any(stop in text for stop in stops)


@pytest.mark.parametrize(
    ("stops", "piece", "shown"),
    [((), "abc", "abc"), (("END",), "the E", "the "), (("END",), "the x", "the x"), (("ab", "b"), "xab", "x")],
)
def test_only_what_may_become_a_stop_string_is_held_back(stops: tuple[str, ...], piece: str, shown: str) -> None:
    assert StopScanner(stops).feed(piece) == shown
