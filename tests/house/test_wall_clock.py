"""Who reads the wall clock, which may jump by an hour: nobody who decides on a lease, a time-out or a cache."""

from tests.house.sources import PACKAGES, sources

SHOWN_TO_PEOPLE = {
    "benchmarks/document.py",
    "cluster/client/joined.py",
    "cluster/client/start.py",
    "cluster/client/tokens.py",
    "cluster/commands/cluster_admin.py",
    "cluster/commands/cluster_jobs.py",
    "cluster/jobs/bookkeeper.py",
    "cluster/jobs/job_checkpoints.py",
    "cluster/jobs/letters.py",
    "gateway/app.py",
    "gateway/keys_command.py",
    "gateway/routes.py",
    "gateway/scores.py",
    "sage/flow/progress.py",
}
ONE_MACHINE_TO_ANOTHER = {
    "cluster/head/client_desk.py",  # when code was submitted: nodes judge its envelope by that, not by their own clocks
    "cluster/head/process.py",  # how the epochs of this head begin, never before those that its journal has
    "cluster/head/submitter.py",
    "cluster/head/trust.py",  # whether a key or a join token is still good
    "cluster/jobs/code.py",  # until when an envelope is good
    "cluster/jobs/manager.py",
    "cluster/node/doors.py",
    "cluster/runtime/due_marks.py",  # records are due on whatever machine they are by then
    "cluster/runtime/enrolment.py",
    "cluster/runtime/gatekeeper.py",
    "cluster/web/post_door.py",  # when a post came
    "cluster/web/post_reader.py",
    "operators/due_wording.py",
    "sage/base/clock.py",  # once, to tell where budgets of tenants are in the calendar: by monotonic time from then on
    "sage/base/retry_after.py",  # a server says by a date when to come back, and that wait is bounded
    "sage/flow/connectors/ticks.py",  # ticks are of the wall clock
}


def test_leases_timeouts_and_caches_go_by_a_clock_that_never_jumps() -> None:
    found = {source.name for source in sources(*PACKAGES) for name, _, _ in source.calls() if name.endswith("unix_s")}
    assert found <= SHOWN_TO_PEOPLE | ONE_MACHINE_TO_ANOTHER, "say why it may jump, or use monotonic_s()"
    assert not {name for name in found if name.startswith("cluster/serving/")}
