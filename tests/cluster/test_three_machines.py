"""What docs/cluster.md says of three machines, tried on three machines; left out only where the kernel refuses."""

import subprocess
import sys

import pytest

from tests.cluster.private_world import what_is_lacking
from tests.cluster.three_machines import HEADING, PAGE, Line, Unexpected, lines_of_page
from tests.conftest import ROOT

_DEADLINE_S = 100.0


@pytest.mark.cluster
@pytest.mark.skipif(bool(what_is_lacking()), reason=what_is_lacking())
def test_three_machines_do_what_the_page_says() -> None:
    command = [sys.executable, "-m", "tests.cluster.three_machines"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in lines_of_page(PAGE.read_text(encoding="utf-8")):
        assert f"{line.machine}$ {line.command.partition(' --token')[0]}" in done.stdout


def test_lines_are_read_as_they_stand_and_what_is_said_beside_them_too() -> None:
    page = (
        f"# x\n\n{HEADING}\n\nwords\n\n```\nfirst$   sage-cluster token   # prints TOKEN1\nb$ c\n```\n```\nd$ e\n```\n"
    )
    assert list(lines_of_page(page)) == [Line("first", "sage-cluster token", "prints TOKEN1"), Line("b", "c", "")]


@pytest.mark.parametrize("page", ["", f"\n{HEADING}\n\n```\nno prompt\n```\n", f"\n{HEADING}\n\n```\n" + "a$ b\n" * 11])
def test_a_page_without_ten_lines_of_commands_is_told_so(page: str) -> None:
    with pytest.raises(Unexpected, match="no ten lines"):
        list(lines_of_page(page))
