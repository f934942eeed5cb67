"""What a job collects: taken once by who collects it, kept while that is away, bounded where nobody is there."""

import random

import pytest

from cluster.head.collected import MAX_KEPT_BYTES, PAGE_BYTES, CollectedRecords, Credit
from cluster.runtime.channel import PeerId
from cluster.runtime.control import NUM_UNTAKEN, RunCollected
from sage.base.ids import JobId, TaskId

JOB, A, B = JobId("job"), TaskId("a"), TaskId("b")
CLIENT, AGAIN = PeerId(0, b"client"), PeerId(0, b"again")


def piece(task_id: TaskId = A, records: bytes = b"xx", num_records: int = 1) -> RunCollected:
    return RunCollected(JOB, task_id, "collect", records, num_records)


def test_who_collects_gets_every_message_by_number_and_the_task_its_credit_once_it_was_taken() -> None:
    collected = CollectedRecords(JOB, CLIENT)
    came = [collected.came(piece(task_id)) for task_id in (A, B, A)]
    assert [(news.task_id, news.number) for news, _ in came] == [(A, 1), (B, 1), (A, 2)]
    assert [credits for _, credits in came] == [[], [], []]
    assert collected.taken(A, 2) == [Credit(A, 2)]
    assert collected.taken(A, 2) == collected.taken(A, 1) == collected.taken(TaskId("no"), 1) == []
    assert collected.taken(B, 99) == [Credit(B, 1)]
    assert collected.num_bytes == 0


def test_what_was_not_taken_comes_again_to_a_client_that_returned() -> None:
    collected = CollectedRecords(JOB, CLIENT)
    sent = [collected.came(piece(task_id))[0] for task_id in (A, B, A)]
    collected.taken(A, 1)
    assert collected.left_by_collector(30.0) == []
    later, credits = collected.came(piece(B))
    assert credits == []
    assert collected.expect_no_longer(29.9) == []
    assert collected.collected_by(AGAIN) == [sent[1], sent[2], later]
    assert collected.collector == AGAIN
    assert collected.expect_no_longer(1e9) == []


def test_tasks_go_on_when_nobody_came_back_in_time_and_nothing_is_lost_within_the_bound() -> None:
    collected = CollectedRecords(JOB, CLIENT)
    sent = [collected.came(piece(task_id))[0] for task_id in (A, B, A)]
    collected.left_by_collector(30.0)
    assert collected.expect_no_longer(30.0) == [Credit(A, 2), Credit(B, 1)]
    last, credits = collected.came(piece(A))
    assert credits == [Credit(A, 1)]
    assert collected.collected_by(AGAIN) == [*sent, last]
    assert collected.taken(A, 3) == []  # its credit was given back before


def test_of_more_than_may_be_kept_the_newest_stay_and_the_others_are_counted() -> None:
    collected = CollectedRecords(JOB, None)
    records = b"x" * (MAX_KEPT_BYTES // 4)
    came = [collected.came(piece(A, records, num_records=7)) for _ in range(6)]
    assert [credits for _, credits in came] == [[Credit(A, 1)]] * 6
    assert collected.num_dropped == 14
    assert [news.number for news in collected.collected_by(CLIENT)] == [3, 4, 5, 6]


def test_one_message_is_kept_however_long_it_is() -> None:
    collected = CollectedRecords(JOB, None)
    collected.came(piece(A, b"x" * (MAX_KEPT_BYTES + 1)))
    assert (len(collected.page(0)[0]), collected.num_dropped) == (1, 0)


def test_what_is_kept_is_given_in_pages_and_stays() -> None:
    collected = CollectedRecords(JOB, None)
    for number in range(8):
        collected.came(piece(A if number % 3 else B, b"x" * (PAGE_BYTES // 3)))
    for _ in range(2):
        pages, after = [], 0
        while True:
            pieces, next_after = collected.page(after)
            pages.append([(news.task_id, news.number) for news in pieces])
            if next_after is None:
                break
            after = next_after
        assert [len(page) for page in pages] == [3, 3, 2]
        assert len({key for page in pages for key in page}) == 8


def test_a_new_run_begins_with_nothing_and_who_collects_stays() -> None:
    collected = CollectedRecords(JOB, CLIENT)
    collected.came(piece())
    collected.begin_run()
    assert (collected.num_bytes, collected.collector) == (0, CLIENT)
    assert collected.came(piece())[0].number == 1


@pytest.mark.parametrize("seed", range(20))
def test_however_often_a_client_is_cut_off_it_takes_everything_once_and_no_task_waits_for_ever(seed: int) -> None:
    """The client takes by number, as it does; what is sent may be lost with the connection, and so may what it says."""
    rng, collected = random.Random(seed), CollectedRecords(JOB, CLIENT)
    num_sent, credits, taken = {A: 0, B: 0}, {A: NUM_UNTAKEN, B: NUM_UNTAKEN}, {A: 0, B: 0}
    wire = []
    for _ in range(400):
        task_id = rng.choice([A, B])
        match rng.randrange(4):
            case 0 if credits[task_id]:
                credits[task_id] -= 1
                num_sent[task_id] += 1
                wire.append(collected.came(piece(task_id))[0])
            case 1 | 2 if wire:
                news = wire.pop(0)
                if news.number == taken[news.task_id] + 1:
                    taken[news.task_id] += 1
                assert news.number <= taken[news.task_id]
                if rng.random() < 0.8:
                    for credit in collected.taken(news.task_id, news.number):
                        credits[credit.task_id] += credit.num
            case 3 if rng.random() < 0.2:
                collected.left_by_collector(1.0)
                wire = collected.collected_by(AGAIN)
    for news in (*wire, *collected.collected_by(AGAIN)):
        taken[news.task_id] = max(taken[news.task_id], news.number)
        for credit in collected.taken(news.task_id, news.number):
            credits[credit.task_id] += credit.num
    assert taken == num_sent
    assert credits == {A: NUM_UNTAKEN, B: NUM_UNTAKEN}
