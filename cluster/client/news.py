"""What a head says of one job, brought to its owner: its state, its records, its prints. Knows no connection."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from cluster.client.collecting import Collecting
from cluster.client.connection import LineLost, LineReturned, News
from cluster.jobs.orders import JobView
from cluster.local.job import JobBoard
from cluster.runtime.control import RemoteFailure
from cluster.runtime.control_clients import CollectedNews, CollectMore, JobNews, LogNews
from cluster.runtime.control_printed import LogLine, PrintedTo
from cluster.runtime.states import JobState
from sage.base.errors import JobInterrupted, RecordFailed, SageError
from sage.base.ids import JobId
from sage.flow.runner import JobMetrics, JobStatus

ShowLines = Callable[[Sequence[LogLine]], object]


class UsersTraceback(Exception):
    """Stands as the cause of an error from another process, so that an uncaught one shows the user's frames first."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class JobNewsDesk:
    """Takes the news of one job, on the line's thread."""

    def __init__(
        self,
        board: JobBoard,
        collecting: Collecting,
        *,
        give_credit: Callable[[CollectMore], object],
        give_up: Callable[[], object],
        show: ShowLines,
        ask_anew: Callable[["JobNewsDesk"], object],
        epoch: int,
    ) -> None:
        """`give_up` has the job cancelled; `show` takes the lines that the job prints. `epoch`: that of the head.

        `ask_anew` asks a head that was lost and found for what comes of the job from now on.
        """
        self._board = board
        self._collecting = collecting
        self._give_credit = give_credit
        self._give_up = give_up
        self._show = show
        self._ask_anew = ask_anew
        self._fault: SageError | None = None
        self._epoch = epoch
        self.num_lines = 0  # that the job has printed in this epoch, as far as they came here
        board.post(JobView(JobMetrics(JobStatus.CREATED, 0, 0, 0.0, ()), None, 0, False, JobId(""), 0))

    def __call__(self, news: News) -> None:
        match news:
            case JobNews(state):
                self._state_is(state)
            case CollectedNews():
                self._take(news)
            case LogNews(lines=lines):
                self.num_lines += len(lines)
                self._show(lines)
            case LineReturned(epoch):
                self._returned(epoch)
            case LineLost(error):
                self.lose(error)

    def printed_before(self, lines: Sequence[LogLine], num_lines: int) -> None:
        """Show lines that came in one answer; `num_lines` is how many there were by then."""
        self.num_lines = num_lines
        if lines:
            self._show(lines)

    def _returned(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch, self.num_lines = epoch, 0  # under another head the job begins anew, and prints anew
        if self._fault is not None:
            self._give_up()
        self._ask_anew(self)

    def _state_is(self, state: JobState) -> None:
        self._collecting.begin(state.run_id)
        if state.has_lost_results and self._collecting and state.metrics.status is JobStatus.FINISHED:
            self._fault = self._fault or JobInterrupted(
                f"job {state.job_id} finished, but its head ended before all that it collected came here",
                "Submit it again, or let it write what it finds: write_jsonl.",
            )
        self._board.post(view_of_state(state, self._fault))

    def _take(self, news: CollectedNews) -> None:
        try:
            self._collecting.take(news)
        except SageError as error:
            if self._fault is None:
                self._fault = error
                self._give_up()
        self._give_credit(CollectMore(news.job_id, news.run_id, news.task_id, news.number))

    def lose(self, error: SageError) -> None:
        """Let nobody wait any more: nothing is known of the job from now on."""
        view = self._board.view
        if not view.is_over:
            self._board.post(replace(view, error=error, is_over=True))


def view_of_state(state: JobState, fault: SageError | None = None) -> JobView:
    """Return `state` as owners of jobs see it; a `fault` of this side is why it was cancelled."""
    error = fault if fault is not None and state.is_over else _error_of(state)
    return JobView(state.metrics, error, state.num_dead_letters, state.is_over, state.run_id, state.num_restarts)


def error_from_remote(failure: RemoteFailure) -> SageError:
    """Return the error; uncaught, it shows the user's own frames first, as it would have here."""
    error = failure.error()
    if isinstance(error, RecordFailed) and error.user_traceback:
        error.__cause__ = UsersTraceback(error.user_traceback.rstrip())
    return error


def _error_of(state: JobState) -> SageError | None:
    """Return why it failed or was cancelled; why it was begun anew counts only while it may begin anew again."""
    is_bad = state.metrics.status in (JobStatus.FAILED, JobStatus.CANCELLED)
    return error_from_remote(state.error) if state.error is not None and (is_bad or not state.is_over) else None


def print_lines(lines: Sequence[LogLine]) -> None:
    """Print what a job printed elsewhere, to where it was printed there."""
    for to_stderr, some in groupby(lines, lambda line: line.to is PrintedTo.STDERR):
        print("\n".join(line.text for line in some), flush=True, file=sys.stderr if to_stderr else sys.stdout)
