"""`sage-gateway serve` as a process of its own, as a user starts it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
START_S = 60.0
STOP_S = 15.0
_RUN = "import sys; from gateway.cli import main; sys.exit(main())"


@dataclass(slots=True)
class Command:
    """A running `sage-gateway serve`. `line` is what it printed when ready, `url` the end of it;
    `started` are the processes it runs."""

    process: "subprocess.Popen[str]"
    line: str
    errors: list[str] = field(default_factory=list)
    started: list[psutil.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.line.rpartition(" at ")[2]

    def stop(self) -> int:
        """Send SIGTERM and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit status; whatever it had started has ended then."""
        status = self.process.wait(STOP_S)
        _, left = psutil.wait_procs(self.started, timeout=STOP_S)
        assert left == [], f"left running: {left}"
        return status


def run_serve(arguments: Sequence[str], directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run a `serve` that is expected to end by itself."""
    command = [sys.executable, "-c", _RUN, "serve", *arguments]
    return subprocess.run(
        command, cwd=directory, env=_environ(directory), capture_output=True, text=True, timeout=START_S, check=False
    )


@contextmanager
def serve(*arguments: str, directory: Path, start_s: float = START_S) -> Iterator[Command]:
    """Start `serve`, wait until it says that it is ready, and see to it that it is gone at the end of the block."""
    command = [sys.executable, "-c", _RUN, "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, cwd=directory, env=_environ(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[str] = []
    reader = threading.Thread(target=errors.extend, args=(process.stderr,))
    reader.start()
    watchdog = threading.Timer(start_s, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline().strip()
        watchdog.cancel()
        assert " at http://" in line, (line, errors)
        started = psutil.Process(process.pid).children(recursive=True)
        yield Command(process, line, errors, started)
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_S)
        reader.join(STOP_S)
        process.stdout.close()
        process.stderr.close()


def _environ(directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    return {**kept, "PYTHONPATH": str(ROOT)}
