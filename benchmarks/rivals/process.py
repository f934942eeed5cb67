"""The near side of a rival's process: starts it, gives it turns, and ends it. Knows no workload."""

import ast
import json
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import benchmarks
from benchmarks.measure import Timed
from benchmarks.rivals.environment import LeftOut
from benchmarks.rivals.rival_wanted import RivalWanted
from sage.base.clock import Clock
from sage.base.errors import InternalError

ANSWER_TIMEOUT_S = 300.0
END_TIMEOUT_S = 5.0

_BOOT = """
import runpy, sys, types
package = types.ModuleType("benchmarks")
package.__path__ = [sys.argv.pop(1)]
sys.modules["benchmarks"] = package
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
"""The package `benchmarks`, and nothing else of ours, is there to be imported by the rival's Python."""


class RivalProcess:
    """One workload on one rival, ready to be run again and again. A context: at its end the process is gone."""

    def __init__(self, python: Path, asked: RivalWanted, clock: Clock, *, package: Path | None = None) -> None:
        """`package` is the folder that the rival knows as `benchmarks`; by default this one."""
        self._asked = asked
        self._clock = clock
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the context
        self._text = b""
        folder = str(package or Path(benchmarks.__file__ or "").parent)
        self._process = subprocess.Popen(
            [str(python), "-c", _BOOT, folder, "benchmarks.rivals.far_side", asked.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )

    def __enter__(self) -> "RivalProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(END_TIMEOUT_S)
        self._said.close()

    def refusal(self) -> LeftOut | None:
        """Wait until the rival has its input; return why it takes no part, if so."""
        answer = self._answer()
        if answer is None:
            return LeftOut(f"its process ended: {self._last_words()}")
        return None if answer["is_known"] else LeftOut("it is not written for it here")

    def run(self) -> Timed:
        """Give it a turn; return what it came to, by its own clock. Raises InternalError where it does not answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"turn\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it says why by the answer that it does not give
        answer = self._answer()
        if answer is None:
            raise InternalError(f"{self._asked.engine} gave no result of {self._asked.workload}: {self._last_words()}")
        return Timed(float(answer["seconds"]), ast.literal_eval(answer["outcome"]))

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        until_s = self._clock.monotonic_s() + ANSWER_TIMEOUT_S
        while b"\n" not in self._text:
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0.0 or not select.select([self._process.stdout], [], [], left_s)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 1 << 20)
            if not more:
                return None
            self._text += more
        line, _, self._text = self._text.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"nothing said within {ANSWER_TIMEOUT_S:.0f} s"
