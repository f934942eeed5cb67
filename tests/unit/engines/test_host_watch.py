"""When a host counts as hung, by what it answers."""

from cluster.serving.engines.host_watch import HostWatch, answer_of


def test_a_host_that_loads_may_be_silent_for_longer() -> None:
    watch = HostWatch(2.0, start_timeout_s=9.0)
    watch.heard(answer_of(None))
    assert [watch.asked() for _ in range(9)] == [None] * 9
    assert "while it loaded" in (watch.asked() or "")


def test_a_host_that_has_said_that_it_is_ready_is_asked_for_more() -> None:
    watch = HostWatch(2.0)
    watch.heard(answer_of(None))
    watch.serves()
    assert [watch.asked() for _ in range(2)] == [None] * 2
    assert "not answered for 2 s" in (watch.asked() or "")


def test_a_host_that_answers_between_two_iterations_works() -> None:
    watch = HostWatch(2.0)
    for _ in range(100):
        watch.heard(answer_of(0.0))
        assert watch.asked() is None


def test_an_iteration_that_lasts_too_long_is_a_hang() -> None:
    watch = HostWatch(2.0)
    watch.heard(answer_of(1.9))
    assert watch.asked() is None
    watch.heard(answer_of(2.0))
    assert "lasted 2 s" in (watch.asked() or "")


def test_silence_is_a_hang_after_as_many_questions_as_there_are_seconds() -> None:
    watch = HostWatch(3.0)
    watch.heard(answer_of(0.0))
    assert [watch.asked() for _ in range(3)] == [None] * 3
    assert "not answered for 3 s" in (watch.asked() or "")


def test_answers_may_come_in_pieces_and_together() -> None:
    watch = HostWatch(2.0)
    data = answer_of(0.5) + answer_of(7.0)
    watch.heard(data[:3])
    watch.heard(data[3:5])
    assert watch.asked() is None
    watch.heard(data[5:])
    assert "lasted 7 s" in (watch.asked() or "")
