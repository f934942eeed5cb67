"""The jobs of the heads before this one, from the journal: which were over, and which begin again. Knows no socket.

The journal's file is this user's alone, and whoever could write it could run code as this user anyway: the code in it
is taken as it stands, if it is what was submitted, also where the envelope around it could not be submitted any more.
Nodes check it all the same: who signed it must be a submitter still, and it counts from when it was submitted.
"""

import hashlib
from dataclasses import dataclass

import msgspec

from cluster.jobs.journal import JobRecord, Journal
from cluster.jobs.outline import plan_from_outline
from cluster.jobs.recovery import BeginAgain, interrupted, recover
from cluster.jobs.run import run_id_of
from cluster.runtime.control_clients import SubmitFlow
from cluster.runtime.job_outline import PlanOutline
from cluster.runtime.keep_flow import KeepFlow
from cluster.runtime.travelling_code import Code
from sage.base.errors import SageError
from sage.base.ids import JobId
from sage.base.log import get_log


class AboutJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a head writes down of a job beside its code. `collects`: a client took what `collect()` brings."""

    outline: PlanOutline
    code_sha256: str
    submitted_unix_s: float
    collects: bool
    keep: KeepFlow | None = None


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job of the journal; `code` None: it is over."""

    record: JobRecord
    about: AboutJob
    code: Code | None

    @property
    def run_id(self) -> JobId:
        return run_id_of(self.record.id, self.record.num_restarts)


def code_bytes(code: Code) -> bytes:
    return msgspec.msgpack.encode(code)


def sha256_of(code: Code) -> str:
    return hashlib.sha256(code_bytes(code)).hexdigest()


def about_order(order: SubmitFlow, submitted_unix_s: float) -> bytes:
    """Return what is to be known of a submitted job again."""
    return msgspec.msgpack.encode(
        AboutJob(order.outline, sha256_of(order.code), submitted_unix_s, order.collects, order.keep)
    )


def take_up(journal: Journal, now_unix_s: float) -> tuple[PastJob, ...]:
    """Carry out what becomes of the jobs in the journal, write that down, and return them in order.

    Raises JournalUnusable.
    """
    records = journal.jobs()
    orders = {order.record.id: order for order in recover(records, now_unix_s)}
    past: list[PastJob] = []
    for record in records:
        order = orders.get(record.id)
        job = _past_job(record if order is None else order.record, now_unix_s, begins=isinstance(order, BeginAgain))
        if order is not None:
            journal.keep(job.record)
            get_log().info("job taken up", job=record.id, status=job.record.status.value)
        past.append(job)
    return tuple(past)


def _past_job(record: JobRecord, now_unix_s: float, *, begins: bool) -> PastJob:
    try:
        about = msgspec.msgpack.decode(record.about, type=AboutJob)
        if not begins:
            return PastJob(record, about, None)
        plan_from_outline(about.outline)
        code = msgspec.msgpack.decode(record.code, type=Code)
        if hashlib.sha256(record.code).hexdigest() == about.code_sha256:
            return PastJob(record, about, code)
        return PastJob(interrupted(record, "its code is not what was submitted", now_unix_s), about, None)
    except (msgspec.DecodeError, SageError) as error:  # its row is sound, so another version wrote it
        nothing = AboutJob(PlanOutline(record.name, (), (), ()), "", record.created_unix_s, False)
        if begins:
            record = interrupted(record, f"this version cannot read its code: {error}", now_unix_s)
        return PastJob(record, nothing, None)
