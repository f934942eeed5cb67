"""Processes forked off before they are needed: told once what to be, heard when they end, gone with their parent."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.runtime.forked_process import fork_waiting

DEADLINE_S = 20.0
BEGINNING = """
import os, select, sys
from pathlib import Path
from cluster.runtime.forked_process import ForkedProcess, fork_waiting

def be(words):
    print("I am", words, "with", len(os.listdir("/dev/fd")), flush=True)
    return int(sys.stdin.readline() or 3)

folder = Path(sys.argv[1])
mine = os.dup(2)
children = fork_waiting(2, be, closes=(mine,))

def process_of(child, words):
    (folder / words).mkdir()
    return ForkedProcess(folder / words, child, words, log_path=folder / f"{words}.log")
"""


def run(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `script` in a process of its own: what is forked off ends as this one would."""
    command = [sys.executable, "-c", BEGINNING + script, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_each_is_what_it_is_told_to_be_and_tells_by_its_end(tmp_path: Path) -> None:
    done = run(
        """
for child, words in zip(children, ("one", "two"), strict=True):
    process = process_of(child, words)
    assert not process.has_ended() and os.getpgid(process.pid) == process.pid
    process.say(b"7\\n")
    assert process.wait(10.0)
    print(process.reap(), "|", process.log_tail())
    process.close()
    assert not (folder / words).exists()
""",
        tmp_path,
    )
    theirs = 3 + 1 + 1  # input, output, errors; the pipe that ends with it; and what it looks by
    ended = "ended with exit status 7 | I am"
    assert done.stdout.splitlines() == [f"{ended} one with {theirs}", f"{ended} two with {theirs}"]
    assert done.stderr == ""


def test_one_that_is_killed_is_noticed_while_the_other_still_waits(tmp_path: Path) -> None:
    done = run(
        """
first, second = process_of(children[0], "one"), children[1]
first.kill()
assert first.wait(10.0)
print(first.reap())
last = process_of(second, "two")
last.say(b"0\\n")
assert last.wait(10.0)
print(last.reap())
""",
        tmp_path,
    )
    assert done.stdout.splitlines() == ["was killed by SIGKILL", "ended with exit status 0"]


def test_where_their_parent_is_killed_all_end_and_hold_nothing_of_it(tmp_path: Path) -> None:
    """Each writing end that is left would keep `communicate` from its end, or the other from hearing of it."""
    script = BEGINNING + "process_of(children[0], 'one')\nos.write(mine, b'x')\nos.kill(os.getpid(), 9)"
    ends, writes = os.pipe()
    with os.fdopen(ends, "rb") as heard:
        command = [sys.executable, "-c", script.replace("os.dup(2)", str(writes)), str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=(writes,)) as parent:
            os.close(writes)
            assert heard.read() == b"x", "its pipe has ended, though its children may live"
            assert parent.communicate(timeout=DEADLINE_S)[0] in (b"", b"I am one with 5\n")
            assert parent.returncode == -9


def test_one_that_has_ended_before_it_is_told_says_so_as_any_that_ends(tmp_path: Path) -> None:
    done = run(
        """
os.kill(children[0].pid, 9)
select.select([children[0].alive_fd], [], [], 10.0)
process = process_of(children[0], "one")
assert process.has_ended()
print(process.reap())
""",
        tmp_path,
    )
    assert done.stdout.splitlines() == ["was killed by SIGKILL"], done.stderr


def test_where_the_system_has_no_process_to_give_none_is_forked_and_nothing_is_left_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process is to be had")

    monkeypatch.setattr(os, "fork", refused)
    before = os.listdir("/dev/fd")
    assert fork_waiting(2, int) == ()
    assert os.listdir("/dev/fd") == before
