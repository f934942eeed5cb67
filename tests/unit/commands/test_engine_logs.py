"""The text of an engine's log, put together from what is read of it piece by piece."""

from collections.abc import Sequence
from itertools import islice

import pytest

from cluster.commands.engine_logs import pieces_of, print_followed
from cluster.runtime.control_engine_log import EngineLog, LogMark
from sage.base.errors import InvalidRequest


class Logs:
    """Gives answers in order, then says that the engine has ended, and remembers what was asked."""

    def __init__(self, answers: Sequence[tuple[bytes, int]]) -> None:
        self.answers = [EngineLog(number, data, LogMark(1, at_byte)) for number, (data, at_byte) in enumerate(answers)]
        self.asked: list[LogMark | None] = []
        self.num_waits = 0

    def read(self, mark: LogMark | None) -> EngineLog:
        self.asked.append(mark)
        if len(self.asked) > len(self.answers):
            raise InvalidRequest("no process of an engine 'e' runs", "Start it.")
        return self.answers[len(self.asked) - 1]

    def wait(self) -> None:
        self.num_waits += 1


@pytest.mark.parametrize(("at_byte", "shown"), [(8, "one\ntwo\n"), (9, "two\n")])
def test_the_newest_begins_with_a_whole_line(at_byte: int, shown: str) -> None:
    assert next(pieces_of(Logs([(b"one\ntwo\n", at_byte)]).read, lambda: None)) == shown


@pytest.mark.parametrize("data", [b"\r10 %\r20 %", b"its only end\n"])
def test_of_a_line_that_is_longer_than_a_piece_is_shown_what_there_is(data: bytes) -> None:
    assert next(pieces_of(Logs([(data, 99)]).read, lambda: None)) == data.decode()


def test_each_piece_is_asked_for_after_the_one_before_and_where_nothing_came_one_waits() -> None:
    logs = Logs([(b"a\n", 2), (b"", 2), (b"", 2), (b"b\n", 4)])
    assert list(islice(pieces_of(logs.read, logs.wait), 2)) == ["a\n", "b\n"]
    assert logs.asked == [None, LogMark(1, 2), LogMark(1, 2), LogMark(1, 2)]
    assert logs.num_waits == 2


def test_a_character_that_is_cut_between_two_pieces_is_shown_whole_and_what_is_none_as_such() -> None:
    whole = "é".encode()
    logs = Logs([(whole[:1], 1), (whole[1:] + b"\xff\n", 4)])
    assert "".join(islice(pieces_of(logs.read, logs.wait), 2)) == "é\ufffd\n"


def test_to_follow_ends_well_with_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = pieces_of(Logs([(b"a\n", 2), (b"b\n", 4)]).read, lambda: None)
    print_followed(pieces)
    out, err = capsys.readouterr()
    assert out == "a\nb\n"
    assert "no process of an engine 'e' runs: that is all" in err


def test_an_engine_that_there_is_not_is_not_one_that_has_ended() -> None:
    with pytest.raises(InvalidRequest):
        next(pieces_of(Logs([]).read, lambda: None))
