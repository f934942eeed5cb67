"""What engine hosts on one device see of each other."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.serving.engines.device_board import DeviceBoard, board_on, page_for_hosts
from cluster.serving.sharing import ChatNow, SharingMode

CHAT = ChatNow(3, 1, 0.5, 0.012, 0.04, 7.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    board = tmp_path / "board"
    board.touch()
    return board


@pytest.fixture
def boards(path: Path) -> Iterator[tuple[DeviceBoard, DeviceBoard]]:
    chat, embed = DeviceBoard(path), DeviceBoard(path)
    yield chat, embed
    for board in (chat, embed):
        board.close()


def test_an_embedding_engine_sees_how_chat_is(boards: tuple[DeviceBoard, DeviceBoard]) -> None:
    chat, embed = boards
    assert embed.chat_now(10.0) == ChatNow()
    chat.show_chat(CHAT, 10.0)
    assert embed.chat_now(10.1) == CHAT
    assert chat.chat_now(10.1) == ChatNow(), "oneself is no other"


def test_a_chat_engine_that_is_silent_or_at_rest_is_in_nobodys_way(boards: tuple[DeviceBoard, DeviceBoard]) -> None:
    chat, embed = boards
    chat.show_chat(CHAT, 10.0)
    assert embed.chat_now(16.0) == ChatNow()
    chat.show_chat(ChatNow(0, 0, 0.5, 0.012, 0.04), 16.0)
    assert embed.chat_now(16.0) == ChatNow()


def test_of_several_chat_engines_any_prompt_counts(boards: tuple[DeviceBoard, DeviceBoard], path: Path) -> None:
    chat, embed = boards
    other = DeviceBoard(path)
    chat.show_chat(ChatNow(2, 0, 0.2, 0.01, 0.03), 10.0)
    other.show_chat(ChatNow(1, 1, 0.6, 0.02, 0.02), 10.0)
    assert embed.chat_now(10.0) == ChatNow(3, 1, 0.6, 0.02, 0.03)
    other.close()
    assert embed.chat_now(10.0).num_lacking == 0


def test_a_chat_engine_sees_what_embeddings_want_while_they_have_work(boards: tuple[DeviceBoard, DeviceBoard]) -> None:
    chat, embed = boards
    assert chat.embedding_mode(10.1) == (SharingMode.OFF, None)
    embed.show_embedding(SharingMode.ALTERNATING, 0.06, 10.0, wants=True, num_in_work=2)
    assert chat.embedding_mode(10.1) == (SharingMode.ALTERNATING, 0.06)
    assert chat.texts_wait(10.1)
    assert chat.num_in_work(10.1) == 2
    embed.show_embedding(SharingMode.ALTERNATING, 0.06, 10.0, wants=False, num_in_work=0)
    assert chat.embedding_mode(10.1) == (SharingMode.OFF, None)


def test_a_place_that_was_left_or_lost_is_taken_again_and_a_full_board_is_not_joined(path: Path) -> None:
    first = DeviceBoard(path)
    others = [DeviceBoard(path) for _ in range(31)]
    with pytest.raises(OSError, match="32 engine hosts"):
        DeviceBoard(path)
    first.close()
    others.append(DeviceBoard(path))
    for board in others:
        board.close()


def test_hosts_of_one_parent_meet_on_one_board_that_has_no_name() -> None:
    page = page_for_hosts()
    assert page is not None
    assert page is page_for_hosts()
    fd = page.fd
    assert os.fstat(fd).st_nlink == 0
    first, second = board_on(fd), board_on(fd)
    assert first is not None
    assert second is not None
    first.show_chat(CHAT, 10.0)
    assert second.chat_now(10.0) == CHAT
    for board in (first, second):
        board.close()
    del page
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


def test_without_a_page_there_is_no_board() -> None:
    assert board_on(None) is None
    assert board_on(1_000_000) is None


def test_chat_gives_no_turn_to_an_embedding_engine_that_was_killed(boards: tuple[DeviceBoard, DeviceBoard]) -> None:
    chat, embed = boards
    embed.show_embedding(SharingMode.ALTERNATING, 0.06, 10.0, wants=True, num_in_work=1)
    assert chat.embedding_mode(14.0) == (SharingMode.ALTERNATING, 0.06)
    assert chat.embedding_mode(15.5) == (SharingMode.OFF, None)
    assert not chat.texts_wait(15.5)
    assert chat.num_in_work(15.5) == 0
