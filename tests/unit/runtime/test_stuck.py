"""What a thread is doing: the user's function, not the library's below it or ours above it."""

import threading

from cluster.runtime.stuck import describe_thread

DEADLINE_S = 10.0


def wait_for_nothing(entered: threading.Event, opened: threading.Event) -> None:
    entered.set()
    opened.wait(DEADLINE_S)


def test_the_users_function_is_named_even_where_the_thread_waits_in_the_library() -> None:
    entered, opened = threading.Event(), threading.Event()
    thread = threading.Thread(target=wait_for_nothing, args=(entered, opened))
    thread.start()
    assert entered.wait(DEADLINE_S)
    assert describe_thread(thread).startswith(f"wait_for_nothing ({__file__}:")
    opened.set()
    thread.join(DEADLINE_S)


def test_a_thread_without_user_code_is_described_by_where_it_is() -> None:
    opened = threading.Event()
    thread = threading.Thread(target=opened.wait)
    thread.start()
    assert "threading.py" in describe_thread(thread)
    opened.set()
    thread.join(DEADLINE_S)
    assert describe_thread(thread) == "a thread that has just ended"
