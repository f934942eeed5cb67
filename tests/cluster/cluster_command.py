"""`sage-cluster` as a user types it, with a home of its own, and a look at everything that it could leave behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
GONE_S = 30.0
_RUN = "import sys; from cluster.commands.cluster import main; sys.exit(main())"
_MARK = "SAGE_TEST_HOME"


@dataclass(frozen=True, slots=True)
class ClusterCommand:
    """A user at a machine: `home` holds the runtime folder, the keys and the files.

    `prefix` stands before every command, to have it run on another machine.
    """

    home: Path
    prefix: tuple[str, ...] = ()

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Run `sage-cluster ARGUMENTS` to its end and return what it printed; it exits with `status`."""
        done = self.run(*arguments)
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr + done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.python("-c", _RUN, *arguments)

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.prefix, sys.executable, *arguments],
            env=self.environ(),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def popen(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `python ARGUMENTS` in a session of its own."""
        return subprocess.Popen(
            [*self.prefix, sys.executable, *arguments],
            env=self.environ(),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "XDG_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "PYTHONPATH": str(ROOT),
            _MARK: str(self.home),
        }

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started from here, by this test or by what it started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == str(self.home) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
                continue
        return found

    def files(self) -> list[str]:
        """Return what lies in the runtime and temporary folders, empty folders apart."""
        paths = [path for folder in ("run", "tmp") for path in (self.home / folder).rglob("*") if not path.is_dir()]
        return sorted(str(path.relative_to(self.home)) for path in paths)

    def wait_gone(self) -> None:
        """Wait until nothing of it runs; then there is no file, port or shared memory either."""
        eventually(lambda: not self.processes(), GONE_S, self.processes)
        left = self.files()
        assert left == [], left


@contextmanager
def user_at_home(prefix: tuple[str, ...] = ()) -> Iterator[ClusterCommand]:
    """Give a user with an empty home, on a path short enough for sockets; nothing of theirs runs on."""
    home = Path(tempfile.mkdtemp(prefix="sage-t", dir="/tmp"))
    command = ClusterCommand(home, prefix)
    try:
        for folder in ("run", "tmp"):
            (home / folder).mkdir(mode=0o700)
        yield command
    finally:
        for process in command.processes():
            process.kill()
        psutil.wait_procs(command.processes(), timeout=GONE_S)
        shutil.rmtree(home, ignore_errors=True)


def shared_memory() -> set[str]:
    """Return the names of all shared memory but that of PostgreSQL servers, which other tests start meanwhile."""
    folder = Path("/dev/shm")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not name.startswith("PostgreSQL.")}
