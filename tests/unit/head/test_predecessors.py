"""From when on a head lets jobs of the heads before it begin anew: at once, where nothing of them can run."""

import os
from pathlib import Path

import msgspec
import pytest

from cluster.head import predecessors
from cluster.head.predecessors import PRESENCE, Reign, follow, reign_after
from cluster.runtime.presence import hold_presence, nobody_is_present
from sage.base.clock import ManualClock
from sage.base.errors import ConfigInvalid

LOST_AFTER_S = 2.7


def after(before: Reign | None, now_s: float, *, boot: str = "b", others: bool = False, are_gone: bool = True) -> Reign:
    return reign_after(before, boot, now_s, takes_others=others, are_gone=are_gone, lost_after_s=LOST_AFTER_S)


def test_after_a_head_whose_nodes_were_its_own_and_are_gone_nobody_is_waited_for() -> None:
    first = after(None, 10.0)
    assert first == Reign("b", False, 12.7)
    assert after(first, 50.0).over_s == 50.0


def test_a_lease_is_waited_for_wherever_a_node_may_live() -> None:
    quiet = Reign("b", False, 0.0)
    assert after(Reign("b", True, 0.0), 50.0).over_s == 52.7, "other machines could join"
    assert after(quiet, 50.0, are_gone=False).over_s == 52.7, "one of this machine lives"
    assert after(quiet, 50.0, boot="another").over_s == 52.7, "it was another machine, or before it was started anew"
    assert after(Reign("", False, 0.0), 50.0, boot="").over_s == 52.7, "nobody knows which machine it was"


def test_what_a_head_had_to_wait_for_is_waited_for_by_those_that_follow_it_at_once() -> None:
    narrow = after(Reign("b", True, 0.0), 50.0)
    assert (narrow.takes_others, after(narrow, 51.0).over_s, after(narrow, 53.0).over_s) == (False, 52.7, 53.0)


def test_a_time_that_lies_too_far_ahead_holds_nobody_for_longer_than_a_lease() -> None:
    assert after(Reign("b", False, 1e9), 50.0).over_s == 52.7


def test_a_node_is_present_until_its_lock_is_gone(tmp_path: Path) -> None:
    path = tmp_path / PRESENCE
    assert nobody_is_present(path, 0.0)
    nodes = [hold_presence(path), hold_presence(path)]
    os.close(nodes[0])
    assert not nobody_is_present(path, 0.0)
    os.close(nodes[1])
    assert nobody_is_present(path, 0.0)


def test_a_node_that_cannot_be_known_as_alive_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"nodes\.lock cannot be locked"):
        hold_presence(tmp_path / "missing" / PRESENCE)
    assert not nobody_is_present(tmp_path / "missing" / PRESENCE, 0.0)


def test_each_head_says_to_the_next_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("b\n")
    monkeypatch.setattr(predecessors, "_BOOT_ID", boot)
    monkeypatch.setattr(predecessors, "_GOING_S", 0.0)
    tmp_path.chmod(0o700)
    clock = ManualClock()

    def over_in_s(*, others: bool = False) -> float:
        reign = follow(tmp_path, takes_others=others, lost_after_s=LOST_AFTER_S, clock=clock)
        return round(reign.over_s - clock.monotonic_s(), 3)

    assert over_in_s() == LOST_AFTER_S
    clock.advance(2.0)
    assert over_in_s() == 0.7
    clock.advance(2.0)
    assert over_in_s(others=True) == 0.0
    clock.advance(5.0)
    assert over_in_s() == LOST_AFTER_S
    clock.advance(5.0)
    node = hold_presence(tmp_path / PRESENCE)
    assert over_in_s() == LOST_AFTER_S
    os.close(node)
    (tmp_path / "head.json").write_bytes(msgspec.json.encode({"of": "another version"}))
    assert over_in_s() == LOST_AFTER_S
