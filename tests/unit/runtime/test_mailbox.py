"""The mailbox: lanes, bounds, timers, descriptors."""

import os
import threading
from dataclasses import dataclass

import pytest
from pykka import ActorDeadError
from pykka._envelope import Envelope

from cluster.runtime.descriptors import Readable
from cluster.runtime.lane import OnDataLane
from cluster.runtime.mailbox import Mailbox, MailboxFull
from cluster.runtime.timers import TimerDue
from sage.base.clock import ManualClock, SystemClock


@dataclass(frozen=True, slots=True)
class Data(OnDataLane):
    number: int


def message_of(mailbox: Mailbox) -> object:
    return mailbox.get().message


def test_control_comes_before_data_and_each_lane_keeps_its_order() -> None:
    mailbox = Mailbox(ManualClock())
    for message in (Data(1), "a", Data(2), "b"):
        mailbox.put(Envelope(message))
    assert [message_of(mailbox) for _ in range(4)] == ["a", "b", Data(1), Data(2)]
    assert mailbox.empty()


def test_a_full_data_lane_refuses_and_control_still_enters() -> None:
    mailbox = Mailbox(ManualClock(), num_data=2)
    mailbox.put(Envelope(Data(1)))
    mailbox.put(Envelope(Data(2)))
    with pytest.raises(MailboxFull, match="data lane"):
        mailbox.put(Envelope(Data(3)))
    mailbox.put(Envelope("stop"))
    assert message_of(mailbox) == "stop"
    assert mailbox.stats().num_refused == 1
    assert mailbox.stats().most_data == 2


def test_a_full_control_lane_refuses_too() -> None:
    mailbox = Mailbox(ManualClock(), num_control=1)
    mailbox.put(Envelope("a"))
    with pytest.raises(MailboxFull, match="control lane"):
        mailbox.put(Envelope("b"))


def test_a_closed_mailbox_refuses_and_still_gives_what_waits() -> None:
    mailbox = Mailbox(ManualClock())
    mailbox.put(Envelope("a"))
    mailbox.close()
    with pytest.raises(ActorDeadError):
        mailbox.put(Envelope("b"))
    assert message_of(mailbox) == "a"


def test_a_timer_comes_when_it_is_due_and_before_data() -> None:
    clock = ManualClock()
    mailbox = Mailbox(clock)
    mailbox.set_timer("flush", 1.0)
    mailbox.put(Envelope(Data(1)))
    mailbox.put(Envelope(Data(2)))
    assert message_of(mailbox) == Data(1)
    clock.advance(1.0)
    assert mailbox.has_urgent()
    assert message_of(mailbox) == TimerDue("flush")
    assert message_of(mailbox) == Data(2)


def test_a_second_timer_of_one_id_replaces_the_first() -> None:
    clock = ManualClock()
    mailbox = Mailbox(clock)
    mailbox.set_timer("a", 1.0)
    mailbox.set_timer("a", 3.0)
    mailbox.set_timer("b", 2.0)
    clock.advance(2.5)
    assert message_of(mailbox) == TimerDue("b")
    assert not mailbox.has_urgent()
    clock.advance(1.0)
    assert message_of(mailbox) == TimerDue("a")


def test_a_cancelled_timer_never_comes() -> None:
    clock = ManualClock()
    mailbox = Mailbox(clock)
    mailbox.set_timer("a", 1.0)
    mailbox.cancel_timer("a")
    clock.advance(2.0)
    assert not mailbox.has_urgent()


def test_a_timer_set_again_at_every_turn_does_not_keep_control_out() -> None:
    mailbox = Mailbox(ManualClock())
    mailbox.set_timer("busy", 0.0)
    mailbox.put(Envelope("stop"))
    first = message_of(mailbox)
    mailbox.set_timer("busy", 0.0)
    assert [first, message_of(mailbox)] == [TimerDue("busy"), "stop"]


def test_get_waits_for_a_timer_of_the_real_clock() -> None:
    mailbox = Mailbox(SystemClock())
    mailbox.set_timer("soon", 0.001)
    assert message_of(mailbox) == TimerDue("soon")


def test_a_waiting_get_is_woken_by_a_put_from_another_thread() -> None:
    mailbox = Mailbox(SystemClock())
    thread = threading.Thread(target=mailbox.put, args=(Envelope("x"),))
    thread.start()
    assert message_of(mailbox) == "x"
    thread.join(5.0)


def test_a_readable_descriptor_comes_once_and_again_only_after_new_bytes() -> None:
    read, write = os.pipe()
    mailbox = Mailbox(SystemClock())
    mailbox.watch_fd(read)
    os.write(write, b"x")
    assert message_of(mailbox) == Readable(read)
    os.read(read, 1)
    mailbox.put(Envelope(Data(1)))
    assert message_of(mailbox) == Data(1)
    mailbox.close()
    os.close(read)
    os.close(write)


def test_a_put_wakes_a_get_that_waits_for_descriptors() -> None:
    read, write = os.pipe()
    mailbox = Mailbox(SystemClock())
    mailbox.watch_fd(read)
    thread = threading.Thread(target=mailbox.put, args=(Envelope("x"),))
    thread.start()
    assert message_of(mailbox) == "x"
    thread.join(5.0)
    mailbox.close()
    os.close(read)
    os.close(write)


def test_a_descriptor_that_stays_readable_does_not_keep_control_out() -> None:
    read, write = os.pipe()
    mailbox = Mailbox(SystemClock())
    mailbox.watch_fd(read)
    os.write(write, b"x")
    mailbox.put(Envelope("a"))
    assert {message_of(mailbox), message_of(mailbox)} == {"a", Readable(read)}
    mailbox.unwatch_fd(read)
    mailbox.put(Envelope("b"))
    assert message_of(mailbox) == "b"
    mailbox.close()
    os.close(read)
    os.close(write)
