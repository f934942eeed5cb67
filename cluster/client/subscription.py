"""What a client asks of a head to hear of one job, and asks anew of a head that was lost and found. Knows no flow."""

from dataclasses import dataclass

from cluster.client.line import HeadLine
from cluster.client.news import JobNewsDesk
from cluster.runtime.control_clients import Done, GetLogs, Logs, WatchJob
from sage.base.errors import SageError
from sage.base.ids import JobId


@dataclass(frozen=True, slots=True)
class Subscription:
    """`collects`: this client takes what `collect()` brings; `logs`: it hears what the job prints."""

    line: HeadLine
    job_id: JobId
    collects: bool
    logs: bool

    def begin(self, desk: JobNewsDesk) -> None:
        """Have the news of the job come to `desk`, what it printed before what became of it: who hears that it is over
        has been shown all its lines. Raises UnknownJob, ClusterUnreachable."""
        self._follow(desk)
        self.line.ask(lambda number: WatchJob(number, self.job_id, self.collects), Done)

    def begin_anew(self, desk: JobNewsDesk) -> None:
        """Do so without waiting; where the head declines, `desk` knows."""

        def answered(answer: object) -> None:
            if isinstance(answer, SageError):
                desk.lose(answer)

        self._follow(desk)
        self.line.call(lambda number: WatchJob(number, self.job_id, self.collects), answered)

    def _follow(self, desk: JobNewsDesk) -> None:
        """Hear of the lines after those that came already."""
        after = desk.num_lines

        def answered(answer: object) -> None:
            if isinstance(answer, Logs):
                desk.printed_before(answer.lines, answer.num_lines)

        if self.logs:
            self.line.call(lambda number: GetLogs(number, self.job_id, True, after), answered)
