"""Engine hosts as processes: how they start, die, misbehave and end; nothing of them stays behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from cluster.runtime.host_process import private_directory
from cluster.serving.engines.launch import ChildLink, launch
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import (
    MAX_FRAME_BYTES,
    WIRE_VERSION,
    EngineInfo,
    FromHost,
    Ready,
    Replies,
    Run,
    StartFailed,
)
from cluster.serving.engines.spec import spec_from_text
from sage.base.ids import EngineId, RequestId
from sage.base.inference import EmbedRequest, Failure, GenerateRequest, Kind, ModelCard, Sampling, Token
from tests.contract.driven import Hosted, answer, messages_of

pytestmark = pytest.mark.cluster

DEADLINE_S = 20.0
_SIM = spec_from_text("simulated:cpu2,model=sim")
_ROOT = Path(__file__).parents[2]


@contextmanager
def _closing(link: ChildLink) -> Iterator[ChildLink]:
    try:
        yield link
    finally:
        link.close(5.0)
        assert not psutil.pid_exists(link.pid)


def _last(link: ChildLink) -> FromHost | HostLost:
    *_, last = messages_of(link)
    return last


def _failure(last: FromHost | HostLost) -> Failure:
    assert isinstance(last, StartFailed | HostLost), last
    return last.failure


def _generate(name: str, max_tokens: int = 3, prompt: str = "Once") -> GenerateRequest:
    return GenerateRequest(RequestId(name), "sim", prompt, Sampling(max_tokens=max_tokens))


def test_a_host_that_is_killed_is_lost_with_the_signals_name() -> None:
    with _closing(launch(_SIM)) as link:
        hosted = Hosted(link)
        hosted.add([_generate("a", max_tokens=5000)])
        hosted.next_replies()
        os.kill(link.pid, signal.SIGKILL)
        failure = _failure(_last(link))
        assert failure.code == "SAGE-2203"
        assert "killed by SIGKILL" in failure.what
        assert link.drain() == []
        assert not link.send(Run((_generate("b"),)))


def test_close_leaves_neither_process_nor_file_nor_descriptor() -> None:
    num_fds = psutil.Process().num_fds()
    with _closing(launch(_SIM)) as link:
        Hosted(link).add([_generate("a", max_tokens=5000)])
        assert link.directory.stat().st_mode & 0o777 == 0o700
    link.close(1.0)
    assert psutil.Process().num_fds() == num_fds
    assert not link.directory.exists()


def test_close_before_the_host_is_ready_ends_it_too() -> None:
    with _closing(launch(_SIM)) as link:
        assert link.drain() == []


def test_an_engine_that_cannot_load_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAGE_MODELS_CACHE_DIR", str(tmp_path))
    with _closing(launch(spec_from_text("openvino:minilm"))) as link:
        last = _last(link)
        assert isinstance(last, StartFailed)
        assert last.failure.code == "SAGE-2301"
        assert "sage models pull minilm" in last.failure.do


def test_a_host_that_dies_at_its_start_leaves_its_last_words(tmp_path: Path) -> None:
    with _closing(ChildLink(EngineId("e"), ("m",), private_directory(), ["no.such.module"])) as link:
        failure = _failure(_last(link))
        assert failure.code == "SAGE-2204"
        assert "exit status 1 before it was ready" in failure.what
        assert "No module named" in failure.do


def test_ctrl_c_is_the_parents_to_obey() -> None:
    with _closing(launch(_SIM)) as link:
        hosted = Hosted(link)
        os.kill(link.pid, signal.SIGINT)
        record = answer(hosted, [_generate("a")])
        assert record.finished(RequestId("a")).usage.completion_tokens == 3


@pytest.mark.parametrize(
    "engine", ["simulated:cpu2", pytest.param("openvino:smollm2", id="while-it-loads", marks=pytest.mark.engines)]
)
def test_a_host_ends_with_its_parent_and_takes_its_files_along(engine: str) -> None:
    program = (
        "import sys\n"
        "from cluster.serving.engines.launch import launch\n"
        "from cluster.serving.engines.spec import spec_from_text\n"
        "link = launch(spec_from_text(sys.argv[1]))\n"
        "print(link.pid, link.directory, flush=True)\n"
        "sys.stdin.read()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen([sys.executable, "-c", program, engine], stdin=-1, stdout=-1, env=environ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().decode().split()
        host = psutil.Process(int(pid))
        parent.kill()
    gone, _ = psutil.wait_procs([host], timeout=DEADLINE_S)
    assert gone
    assert not Path(directory).exists()


def test_a_parent_that_ends_without_closing_leaves_no_files_of_a_host_that_died_before() -> None:
    program = (
        "import os\n"
        "from cluster.serving.engines.launch import launch\n"
        "from cluster.serving.engines.spec import spec_from_text\n"
        "link = launch(spec_from_text('simulated:cpu2'))\n"
        "os.kill(link.pid, 9)\n"
        "os.waitpid(link.pid, 0)\n"
        "print(link.directory)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=True)
    assert ended.stdout.strip()
    assert not Path(ended.stdout.strip()).exists()


def test_a_request_that_cannot_travel_fails_alone() -> None:
    with _closing(launch(_SIM)) as link:
        hosted = Hosted(link)
        half = EmbedRequest(RequestId("half"), "sim", ("half a \ud83d character",))
        huge = _generate("huge", prompt="x" * MAX_FRAME_BYTES)
        record = answer(hosted, [_generate("a"), half, huge, _generate("b")])
        assert {name: record.failed_code(RequestId(name)) for name in ("half", "huge")} == {
            "half": "SAGE-1203",
            "huge": "SAGE-1203",
        }
        assert record.finished(RequestId("a")).reason == record.finished(RequestId("b")).reason == "length"


def test_requests_too_large_together_travel_apart() -> None:
    with _closing(launch(_SIM)) as link:
        hosted = Hosted(link)
        requests = [_generate(f"g{n}", prompt="x" * (MAX_FRAME_BYTES // 2)) for n in range(3)]
        record = answer(hosted, requests)
        assert [record.failed_code(request.id) for request in requests] == ["SAGE-1204"] * 3


_FAKE_HOST = """
import argparse, json, signal, sys
import zmq

parser = argparse.ArgumentParser()
parser.add_argument("frames")
parser.add_argument("--link")
parser.add_argument("--deaf", action="store_true")
parser.add_argument("--alive-fd")
parser.add_argument("--page-fd")
arguments = parser.parse_args()
if arguments.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(arguments.link)
for name in arguments.frames.split(","):
    with open(name, "rb") as file:
        socket.send_multipart(file.read().split(b"--frame--"))
sys.stdin.read()
"""

Fake = Callable[..., ChildLink]


@pytest.fixture
def fake_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Starts hosts that send what they are told, whatever it is; all are closed at the end."""
    (tmp_path / "fake_host.py").write_text(_FAKE_HOST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    links: list[ChildLink] = []

    def start(*messages: bytes, deaf: bool = False) -> ChildLink:
        names = [tmp_path / f"{len(links)}-{number}" for number in range(len(messages))]
        for name, message in zip(names, messages, strict=True):
            name.write_bytes(message)
        directory = private_directory()
        arguments = ["fake_host", ",".join(map(str, names)), "--link", f"ipc://{directory / 'socket'}"]
        links.append(ChildLink(EngineId("fake"), ("m",), directory, arguments + ["--deaf"] * deaf))
        return links[-1]

    yield start
    for link in links:
        link.close(0.2)
        assert not psutil.pid_exists(link.pid)
        assert not link.directory.exists()


def _ready(wire: int = WIRE_VERSION) -> bytes:
    card = ModelCard("m", (Kind.CHAT,), 100)
    return msgspec.msgpack.encode(Ready(wire, EngineInfo(EngineId("fake"), "simulated", "none", True, (card,), 1)))


_REPLIES = msgspec.msgpack.encode(Replies((Token(RequestId("a"), "x"),)))


def test_a_host_that_listens_neither_to_us_nor_to_signals_is_killed(fake_host: Fake) -> None:
    assert isinstance(next(messages_of(fake_host(_ready(), deaf=True))), Ready)


def test_a_host_of_another_wire_version_is_refused_by_name(fake_host: Fake) -> None:
    of_the_future = msgspec.msgpack.encode({"type": "ready", "wire": WIRE_VERSION + 1, "something": "new"})
    for frame in (of_the_future, _ready(WIRE_VERSION + 1)):
        failure = _failure(_last(fake_host(frame)))
        assert failure.code == "SAGE-2204"
        assert f"speaks wire version {WIRE_VERSION + 1}, we speak {WIRE_VERSION}" in failure.what


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param((b"",), id="empty"),
        pytest.param((b"\xa1\xff",), id="broken-text"),
        pytest.param((b"\x91" * 100_000,), id="nested-deep"),
        pytest.param((b"\x80\x04\x95pickle.",), id="a-pickle"),
        pytest.param((_REPLIES,), id="replies-before-ready"),
        pytest.param((_ready(), _ready()), id="ready-twice"),
        pytest.param((_ready(), _REPLIES + b"--frame--" + _REPLIES), id="two-frames"),
        pytest.param((_ready(), msgspec.msgpack.encode({"type": "run", "requests": []})), id="an-order"),
        pytest.param(
            (_ready(), msgspec.msgpack.encode({"type": "replies", "replies": [], "more": 1})), id="a-field-more"
        ),
    ],
)
def test_a_host_that_breaks_the_protocol_is_lost_and_ended(fake_host: Fake, messages: tuple[bytes, ...]) -> None:
    link = fake_host(*messages)
    assert _failure(_last(link)).code == "SAGE-9001"
    assert not psutil.pid_exists(link.pid)


def test_a_frame_beyond_the_bound_cuts_the_host_off(fake_host: Fake) -> None:
    link = fake_host(_ready(), b"x" * (MAX_FRAME_BYTES + 1))
    assert _failure(_last(link)).code == "SAGE-9001"


def test_a_long_temporary_folder_is_too_long_for_a_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    directory = private_directory()
    directory.rmdir()
    assert len(os.fsencode(directory)) < 90
    assert list(long.iterdir()) == []


@pytest.mark.engines
def test_an_engine_that_takes_too_long_to_load_is_given_up() -> None:
    with _closing(launch(spec_from_text("openvino:minilm"), start_timeout_s=0.05)) as link:
        failure = _failure(_last(link))
        assert failure.code == "SAGE-2204"
        assert "not ready within 0.05 s" in failure.do
