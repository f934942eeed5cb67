"""What a head says of one job, brought to its owner: its state, its records, its prints. Knows no connection."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cluster.client.collecting import Collecting
from cluster.client.line import LineLost, News
from cluster.jobs.orders import JobView
from cluster.local.job import JobBoard
from cluster.runtime.control import RemoteFailure
from cluster.runtime.control_clients import CollectedNews, CollectMore, JobNews, JobState, LogNews
from sage.base.errors import RecordFailed, SageError
from sage.base.ids import JobId
from sage.flow.runner import JobMetrics, JobStatus


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
        show: Callable[[Sequence[str]], object],
    ) -> None:
        """`give_up` has the job cancelled; `show` takes the lines that the job prints."""
        self._board = board
        self._collecting = collecting
        self._give_credit = give_credit
        self._give_up = give_up
        self._show = show
        self._fault: SageError | None = None
        board.post(JobView(JobMetrics(JobStatus.CREATED, 0, 0, 0.0, ()), None, 0, False, JobId(""), 0))

    def __call__(self, news: News) -> None:
        match news:
            case JobNews(state):
                self._collecting.begin(state.run_id)
                self._board.post(view_of_state(state, self._fault))
            case CollectedNews():
                self._take(news)
            case LogNews(lines=lines):
                self._show(lines)
            case LineLost(error):
                self._lose(error)

    def _take(self, news: CollectedNews) -> None:
        try:
            self._collecting.take(news)
        except SageError as error:
            if self._fault is None:
                self._fault = error
                self._give_up()
        self._give_credit(CollectMore(news.job_id, news.run_id, news.task_id, 1))

    def _lose(self, error: SageError) -> None:
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


def print_lines(lines: Sequence[Any]) -> None:
    """Print what a job printed elsewhere."""
    print("\n".join(map(str, lines)), flush=True)
