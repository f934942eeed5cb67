"""A ledger that could find nothing would prove nothing: what it finds, and what an injection plan is."""

from random import Random

import pytest

from tests.nemesis.flow import Entry
from tests.nemesis.injections import PARTITIONS, Kind, Plan, Where, episodes
from tests.nemesis.ledger import judge, read_ledger
from tests.nemesis.report import broken_promises, rows_of, table
from tests.nemesis.strike import Outcome

DUE = {"a": 2, "b": 1}
RESULTS = [["two", "a", 2], ["two", "b", 1]]


def began(run: str, at_s: float) -> Entry:
    return Entry("began", run, "node-1", 1, at_s)


def wrote(run: str, key: str, count: int, at_s: float = 9.0) -> Entry:
    return Entry("wrote", run, "node-2", 2, at_s, key, count)


WHOLE = [
    began("one", 1.0),
    wrote("one", "a", 1),
    began("two", 4.0),
    wrote("two", "a", 1, 5.0),
    wrote("two", "b", 1, 6.0),
    wrote("two", "a", 2, 7.0),
]


def test_a_job_that_began_anew_and_wrote_all_is_well() -> None:
    verdict = judge(WHOLE, DUE, RESULTS)
    assert (verdict.stale, verdict.wrong) == ((), ())
    assert verdict.runs == ((1.0, 9.0), (4.0, 5.0))


def test_what_a_run_writes_after_the_next_has_begun_is_stale() -> None:
    verdict = judge([*WHOLE, wrote("one", "b", 1)], DUE, RESULTS)
    assert verdict.stale == ("node-2 (process 2) wrote b=1 at 9.000 s",)


@pytest.mark.parametrize(
    ("entries", "results", "found"),
    [
        (WHOLE[:-1], RESULTS, "of the ledger 1 missing"),
        ([*WHOLE, WHOLE[-1]], RESULTS, "of the ledger 1 too many"),
        (WHOLE, RESULTS[:1], "of the file 1 missing"),
        (WHOLE, [["one", "a", 2], *RESULTS], "of the file 1 too many"),
        ([], [], "no run began"),
    ],
)
def test_what_the_run_that_won_lost_or_doubled_is_found(
    entries: list[Entry], results: list[list[object]], found: str
) -> None:
    assert found in " ".join(judge(entries, DUE, results).wrong)


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    assert read_ledger([b'["began","one","n",1,2.0,"",0]\n', b'["wro']) == [Entry("began", "one", "n", 1, 2.0)]


def test_everything_asked_for_is_done_and_no_head_has_to_start_more_nodes_than_it_may() -> None:
    plan = Plan(num_kills=12, num_pauses=3, num_partitions=7, num_clients=2, num_heads=2)
    todo = list(episodes(plan, Random(5)))
    kinds = [injection.kind for episode in todo for injection in episode.injections]
    assert (kinds.count(Kind.KILL), kinds.count(Kind.PAUSE), kinds.count(Kind.CLIENT)) == (12, 3, 2)
    apart = [injection.kind for episode in todo if episode.where is Where.MACHINES for injection in episode.injections]
    assert (len(apart), apart.count(Kind.HEAD), apart.count(Kind.PAUSE)) == (9, 1, 1)
    assert {*PARTITIONS} < {*apart}
    for episode in todo:
        assert [injection.kind for injection in episode.injections].count(Kind.KILL) <= 5
    assert todo == list(episodes(plan, Random(5)))


def test_a_promise_that_was_broken_is_named_and_counted() -> None:
    ((kill, late),) = [
        episode.injections for episode in episodes(Plan(num_kills=2, per_cluster=2), Random(1)) if episode.injections
    ]
    rows = rows_of([Outcome(kill, 0.1, 0.2, 0.3, 1), Outcome(late, 3.5, 9.0, 0.4, 1, num_stale=1, wrong=["lost 3"])])
    assert broken_promises(rows) == [
        "kill: lost 3",
        "kill: lost_s_max is 3.5, and 3 is promised",
        "kill: resumed_s_p99 is 9, and 8 is promised",
    ]
    assert "0.10/3.50/3.50" in table(rows)
    assert rows[0].stale_commits == 1
