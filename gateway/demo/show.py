"""Shows the demo while it runs: how far the index is until the first passages are found, then the transcript.

Called by the threads of several tasks and by the one that waits. Knows nothing of how answers come about.
"""

from threading import Lock
from typing import TextIO

from gateway.demo.flow import CHUNK_STEP, EMBED_STEP, Answered, Listeners
from gateway.demo.progress import BarProgress, Progress, QuarterLines, counts_of
from gateway.demo.questions import Found
from gateway.demo.transcript import Transcript
from sage.flow.runner import JobMetrics

_LABEL = "indexing the Python reference"


class Show:
    """Writes the transcript to `out` and progress to `err`, and keeps what was answered, in order of coming."""

    def __init__(self, num_questions: int, *, out: TextIO, err: TextIO, width: int = 100) -> None:
        on_terminal = out.isatty()
        self._transcript = Transcript(
            num_questions,
            width=width,
            strong=_bold if on_terminal else str,
            faint=_dim if on_terminal else str,
        )
        self._out = out
        self._progress: Progress | None = BarProgress(_LABEL, err) if err.isatty() else QuarterLines(_LABEL, err)
        self._lock = Lock()
        self._is_in_line = False
        self.answers: list[Answered] = []

    def listeners(self) -> Listeners:
        """Return what the flow calls."""
        return Listeners(self._on_found, self._on_token, self._on_answered)

    def on_progress(self, metrics: JobMetrics) -> None:
        """Show how far the index is; nothing once questions are being answered."""
        with self._lock:
            if self._progress is not None:
                self._progress.show(*counts_of(metrics, step=EMBED_STEP, before=CHUNK_STEP))

    def close(self) -> None:
        """Leave the terminal as it was, at the beginning of a line; may be called more than once."""
        with self._lock:
            self._end_progress()
            if self._is_in_line:
                self._write("\n")

    def _on_found(self, found: Found) -> None:
        with self._lock:
            self._write(self._transcript.found(found))

    def _on_token(self, found: Found, text: str) -> None:
        with self._lock:
            self._write(self._transcript.token(found, text))

    def _on_answered(self, answered: Answered) -> None:
        with self._lock:
            self.answers.append(answered)
            self._write(self._transcript.answered(answered.found))

    def _write(self, text: str) -> None:
        self._end_progress()
        if text:
            self._is_in_line = False  # also where writing fails: nobody reads any more
            self._out.write(text)
            self._out.flush()
            self._is_in_line = not text.endswith("\n")

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.finish()
            self._progress = None


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"
