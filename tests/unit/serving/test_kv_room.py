"""How much an engine is given by the memory for keys and values that it tells of."""

import pytest

from cluster.serving.engines.figures import EngineFigures, figures_of
from cluster.serving.events import EngineEnded, EngineSeen, FirstTokens
from cluster.serving.kv_room import FULL, SHARE_OF_ANSWER, KvRoom
from cluster.serving.ticket import Ticket
from sage.base.ids import EngineId, RequestId
from tests.unit.serving.arrange import CheckedPlane, chat, chat_engine, dispatched, finished, waiting

PROMPT, ANSWER = 101, 100  # tokens of what `asked` asks for
NEED = PROMPT + SHARE_OF_ANSWER * ANSWER
C1 = EngineId("c1")


def asked(id: str = "r", max_tokens: int | None = ANSWER) -> Ticket:
    return waiting(chat(id, num_characters=400, max_tokens=max_tokens))


def room_for(num: float, **told: float) -> KvRoom:
    """Return the memory of an engine for so many requests as `asked` makes them."""
    return KvRoom(EngineFigures(kv_tokens=num * NEED, **told))


def filled(num: float, num_held: int) -> KvRoom:
    room = room_for(num)
    for n in range(num_held):
        room.take(asked(str(n)), 0.0)
    return room


def test_what_a_server_says_of_its_memory_is_read_and_summed_over_its_engines() -> None:
    line = 'vllm:cache_config_info{block_size="16",engine="%d",num_cpu_blocks="None",num_gpu_blocks="%s"} 1.0\n'
    figures = figures_of(line % (0, 100) + line % (1, 50) + 'vllm:num_preemptions_total{engine="0"} 3.0\n')
    assert figures is not None
    assert (figures.kv_tokens, figures.num_preempted) == (16 * 150, 3)


def test_a_server_that_does_not_know_its_blocks_yet_tells_no_memory() -> None:
    figures = figures_of('vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0\n')
    assert figures == EngineFigures(kv_tokens=0.0)


def test_so_many_more_are_taken_as_prompts_and_shares_of_answers_fit() -> None:
    assert [filled(4.1, num).num_free for num in (1, 2, 3, 4, 5)] == [3, 2, 1, 0, 0]


def test_one_is_taken_though_it_may_be_too_long_where_nothing_is_held() -> None:
    room = room_for(0.5)
    room.take(ticket := asked(), 0.0)
    assert room.num_free == 0
    room.drop(ticket, None, 1.0)
    room.check([])
    assert room.num_free == 1


def test_answers_count_by_how_long_they_were_and_by_the_longest_that_was_asked_for() -> None:
    room = room_for(100)
    for n in range(20):
        room.take(ticket := asked(str(n), max_tokens=None), float(n))
        ticket.first_s = float(n)
        room.began(ticket, float(n))
        room.drop(ticket, 40, n + 0.5)
    room.take(unbounded := asked(max_tokens=None), 20.0)
    room.take(bounded := asked(max_tokens=10), 20.0)
    assert unbounded.kv_answer_tokens == pytest.approx(SHARE_OF_ANSWER * 40, rel=0.05)
    assert bounded.kv_answer_tokens == pytest.approx(SHARE_OF_ANSWER * 10)


def test_prompts_that_share_their_beginnings_leave_room_for_more() -> None:
    room = filled(10.1, 8)
    before = room.num_free
    for _ in range(40):  # eight prompts need no more than two would
        room.told(EngineFigures(8, 0, 2 * PROMPT / room.tokens, kv_tokens=room.tokens), 8 * PROMPT, 8)
    assert room.num_free > before + 4


def test_a_report_from_before_prompts_began_says_nothing_of_what_they_share() -> None:
    room = filled(10.1, 8)
    before = room.num_free
    room.told(EngineFigures(2, 0, 2 * PROMPT / room.tokens, kv_tokens=room.tokens), 8 * PROMPT, 8)
    assert room.num_free == before


def test_preemptions_make_what_is_needed_count_more_and_their_absence_less_again() -> None:
    room = filled(10.1, 8)
    before = room.used
    for num in range(1, 30):
        room.told(EngineFigures(num_preempted=num, kv_tokens=room.tokens), 0, 0)
    assert room.used == pytest.approx(1.2 * before)
    for _ in range(30):
        room.told(EngineFigures(num_preempted=29, kv_tokens=room.tokens), 0, 0)
    assert room.used == pytest.approx(before)


@pytest.mark.parametrize(("kv_used", "num_free"), [(FULL, 2), (0.95, 0)])
def test_nothing_is_taken_while_something_waits_inside_for_memory(kv_used: float, num_free: int) -> None:
    room = filled(6.1, 4)
    room.told(EngineFigures(3, 1, kv_used, kv_tokens=room.tokens), 0, 0)
    assert room.num_free == num_free
    room.told(EngineFigures(4, 0, 0.95, kv_tokens=room.tokens), 0, 0)
    assert room.num_free == 2


def test_a_server_that_says_nothing_more_stops_nobody_for_ever() -> None:
    room, tickets = room_for(20), [asked(str(n)) for n in range(6)]
    for ticket in tickets[:4]:
        room.take(ticket, 0.0)
    room.told(EngineFigures(3, 1, 0.95, kv_tokens=room.tokens), 0, 0)
    for ticket in tickets[:3]:
        room.drop(ticket, None, 1.0)
        assert room.num_free == 0
    room.take(tickets[4], 1.0)
    room.drop(tickets[3], None, 1.0)
    assert room.num_free > 1


def told(num: float, *, num_preempted: float = 0.0) -> EngineSeen:
    return EngineSeen(C1, EngineFigures(kv_tokens=num * NEED, num_preempted=num_preempted))


def ask(plane: CheckedPlane, *ids: str) -> list[tuple[str, list[str]]]:
    return dispatched(plane.submit(*(chat(id, num_characters=400, max_tokens=ANSWER) for id in ids)))


def test_an_engine_that_tells_its_memory_is_given_what_fits_and_more_as_that_ends() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=64))
    plane.handle(told(3.1))
    assert ask(plane, *"abcde") == [("c1", ["a", "b", "c"])]
    plane.first("a", "b")
    assert dispatched(plane.end("c1", "b")) == [("c1", ["d"])]
    assert dispatched(plane.handle(told(4.1))) == [("c1", ["e"])]


def test_what_is_inside_counts_where_an_engine_tells_its_memory_later_and_no_more_where_it_does_not() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=64))
    assert ask(plane, "a", "b") == [("c1", ["a", "b"])]
    plane.first("a")
    plane.handle(told(3.1))
    assert ask(plane, "c", "d", "e") == [("c1", ["c"])]
    assert dispatched(plane.handle(EngineSeen(C1, EngineFigures()))) == [("c1", ["d", "e"])]


def test_another_engine_gets_what_the_memory_of_one_does_not_hold() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=64))
    plane.handle(told(1.1))
    plane.up(chat_engine("c2", max_running=64))
    assert sorted(id for _, ids in ask(plane, *"abcd") for id in ids) == ["a", "b", "c", "d"]
    held = plane.plane.view().engines
    assert [engine.num_running for engine in held] == [1, 3]


def test_requests_that_memory_keeps_back_are_all_answered() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=64))
    plane.handle(told(2.1))
    ids = [str(n) for n in range(20)]
    running = [id for _, some in ask(plane, *ids) for id in some]
    while running:
        id = RequestId(running.pop(0))
        plane.handle(FirstTokens(C1, (id,)))
        plane.wait(0.5)
        commands = plane.handle(EngineEnded(C1, (finished(id, completion_tokens=ANSWER),)))
        running += [id for _, some in dispatched(commands) for id in some]
    assert {plane.outcome(id) for id in ids} == {"finished"}
