"""Dead letters on the disk: bounded, private, and read with the classes of the flow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.jobs.letters import MAX_LETTERS, KeptLetter, LetterFolder, LetterKeeper, record_of
from cluster.local import LocalCluster
from sage.base.config import load_settings
from sage.base.errors import UnknownLetter
from sage.flow.runner import DeadLetterRecord

DEADLINE_S = 20.0


@dataclass
class Order:
    """A record of the user's own."""

    number: int
    note: str


class Foreign:
    """What cannot travel."""


def refuse(order: Order) -> Order:
    if order.number == 2:
        raise ValueError("no such order")
    return order


def refuse_any(record: Any) -> Any:
    raise ValueError("no")


def time_of(order: Order) -> float:
    return 100.0 + order.number


def number_of(order: Order) -> int:
    return order.number


def folder_with(folder: Path, flow: sage.Flow) -> tuple[LetterFolder, list[DeadLetterRecord]]:
    with LocalCluster(settings=load_settings({"jobs.letters_dir": str(folder)})) as cluster:
        job = cluster.submit(flow)
        job.wait(DEADLINE_S)
        return LetterFolder(folder), job.dead_letters()


def orders() -> sage.Flow:
    flow = sage.Flow("orders")
    items = [Order(number, "n") for number in range(4)]
    timed = flow.from_collection(items, timestamp=time_of).named("in").key_by(number_of)
    timed.map(refuse).named("check").on_error("dead_letter").collect()
    return flow


def test_a_letter_says_where_its_record_came_from_and_its_record_can_be_read_again(tmp_path: Path) -> None:
    letters, told = folder_with(tmp_path, orders())
    [letter] = told
    assert (letter.step, letter.key, letter.timestamp_s) == ("check", "2", 102.0)
    assert letter.lineage.startswith(f"record 3 of 'in' ({__file__}:")
    assert "no such order" in letter.traceback
    assert letters.ids() == [letter.id]
    kept, encoded = letters.open(letter.id)
    assert (kept.letter, kept.file) == (letter, __file__)
    assert record_of(kept, encoded, orders().graph()) == Order(2, "n")


def test_letters_are_for_their_user_alone(tmp_path: Path) -> None:
    folder_with(tmp_path / "mine", orders())
    [file] = (tmp_path / "mine").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_record_of_several_steps_further_is_counted_at_its_own_task(tmp_path: Path) -> None:
    flow = sage.Flow("f")
    flow.from_collection(range(3)).map_batches(list).named("lists").map(refuse_any).on_error("dead_letter").collect()
    _, told = folder_with(tmp_path, flow)
    assert [letter.lineage.partition(" that ")[0] for letter in told] == ["record 1", "record 2", "record 3"]


def test_what_cannot_travel_leaves_a_letter_that_says_so(tmp_path: Path) -> None:
    flow = sage.Flow("f")
    flow.from_collection([Foreign(), "x" * 2_000_000]).map(refuse_any).on_error("dead_letter").collect()
    letters, told = folder_with(tmp_path, flow)
    found = [letters.open(letter.id) for letter in told]
    assert "Foreign" in found[0][0].why_not
    assert "bytes" in found[1][0].why_not
    for kept, encoded in found:
        with pytest.raises(UnknownLetter, match="was not kept"):
            record_of(kept, encoded, flow.graph())


def test_where_letters_are_not_wanted_none_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with LocalCluster(settings=load_settings({"jobs.letters_dir": ""})) as cluster:
        job = cluster.submit(orders())
        assert job.wait(DEADLINE_S).dead_letters == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    _, told = folder_with(tmp_path / "file" / "letters", orders())
    assert len(told) == 1


def test_the_newest_letters_stay_also_those_of_another_process(tmp_path: Path) -> None:
    for first in (0, 600):
        letters = LetterFolder(tmp_path)
        for number in range(first, first + 600):
            letters.keep(KeptLetter(DeadLetterRecord(f"j/{number}", "s", "", "", ""), "f.py", 0.0), b"")
    assert len(LetterFolder(tmp_path).ids()) == MAX_LETTERS
    with pytest.raises(UnknownLetter, match="there is no dead letter 'j/0'"):
        letters.open("j/0")
    assert letters.open("j/1199")[0].letter.id == "j/1199"


def test_an_id_names_no_file_outside_the_folder_and_damage_is_told(tmp_path: Path) -> None:
    (tmp_path / "outside.letter").write_bytes(b"\x02\x00\x00\x00{}")
    letters = LetterFolder(tmp_path / "in")
    with pytest.raises(UnknownLetter):
        letters.open("../outside")
    letters.keep(KeptLetter(DeadLetterRecord("a", "s", "", "", ""), "f.py", 0.0), b"")
    (tmp_path / "in" / "a.letter").write_bytes(b"\xff\xff\xff\xff torn")
    with pytest.raises(UnknownLetter):
        letters.open("a")


def test_a_keeper_without_a_folder_keeps_nothing() -> None:
    from sage.base.clock import ManualClock

    assert LetterKeeper(None, ManualClock())._letters is None
