"""Start an engine host and hold the near end of it: an EngineLink over ZeroMQ. Knows no engine and no plane."""

import contextlib
import sys
from pathlib import Path

import msgspec
import zmq

from cluster.runtime.host_process import HostProcess, private_directory
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import (
    MAX_FRAME_BYTES,
    MAX_FRAMES,
    WIRE_VERSION,
    FromHost,
    Ready,
    Replies,
    Run,
    Shutdown,
    StartFailed,
    ToHost,
)
from cluster.serving.engines.spec import EngineSpec, engine_ids
from sage.base.codec import Codec
from sage.base.errors import EngineLost, EngineStartFailed, InternalError, InvalidRequest, Overloaded, SageError
from sage.base.ids import EngineId
from sage.base.inference import Failed, Failure, Request

HOST_MODULE = "cluster.serving.engines.host"
_LAST_FRAMES_MS = 200
_DYING_S = 0.5  # a host whose connection is gone is gone itself within this, or has broken the protocol


class _AnyReady(msgspec.Struct, tag="ready"):
    """What a Ready of every wire version has, past and to come."""

    wire: int


class HostLink:
    """A host process and the socket to it; an EngineLink."""

    def __init__(self, engine_id: EngineId, models: tuple[str, ...], directory: Path, arguments: list[str]) -> None:
        """Bind the socket, then start the process. Use `launch`; `arguments` is a way in for tests.

        Raises: EngineStartFailed where the process cannot even be started.
        """
        self.engine_id = engine_id
        self.models = models
        self.directory = directory
        self._is_ready = False
        self._is_over = False
        self._was_cut_off = False
        self._is_closed = False
        self._local: list[Failed] = []
        self._encoder = msgspec.msgpack.Encoder()
        self._codec: Codec[FromHost] = Codec(FromHost)  # type: ignore[arg-type] # a union is no class to mypy
        self._zmq = zmq.Context(io_threads=1)
        self._socket = _bound_socket(self._zmq, directory)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        try:
            self._process = HostProcess(directory, arguments)
        except OSError as error:
            self._close_sockets()
            raise EngineStartFailed(f"engine {engine_id} could not be started: {error}") from error

    @property
    def pid(self) -> int:
        """The host's process id."""
        return self._process.pid

    def fds(self) -> tuple[int, ...]:
        return (self._socket.fileno(), self._monitor.fileno(), self._process.alive_fd)

    def send(self, message: ToHost) -> bool:
        if self._is_over or self._is_closed:
            return False
        data = self._encoded(message)
        if data is not None:
            return self._offer(data)
        assert isinstance(message, Run), message
        for request in message.requests:
            self._send_alone(request)
        return True

    def _encoded(self, message: ToHost) -> bytes | None:
        try:
            data = self._encoder.encode(message)
        except UnicodeEncodeError:  # a text with half a surrogate pair cannot travel
            return None
        return data if len(data) <= MAX_FRAME_BYTES else None

    def _offer(self, data: bytes) -> bool:
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _send_alone(self, request: Request) -> None:
        """Send a request of a Run that could not travel whole; what cannot be sent fails alone."""
        data = self._encoded(Run((request,)))
        if data is None:
            error: SageError = InvalidRequest(
                f"the request is no valid text or longer than {MAX_FRAME_BYTES:,} bytes", "Send less, as valid Unicode."
            )
        elif self._offer(data):
            return
        else:
            error = Overloaded(f"the way to engine {self.engine_id} is full", retry_after_s=1.0)
        self._local.append(Failed(request.id, Failure.of(error)))

    def drain(self) -> list[FromHost | HostLost]:
        if self._is_over or self._is_closed:
            return []
        came: list[FromHost | HostLost] = []
        if self._local:
            came.append(Replies(tuple(self._local)))
            self._local = []
        has_ended = self._process.has_ended()
        try:
            if has_ended:
                self._wait_for_last_frames()
            is_cut_off = self._is_cut_off()
            self._read(came)
        except SageError as error:
            self._process.kill()
            self._process.reap()
            self._lose(came, error)
            return came
        if (has_ended or is_cut_off) and not self._is_over:
            self._lose(came, self._end())
        return came

    def _is_cut_off(self) -> bool:
        """Say whether the connection is closed: the host died, or sent a frame beyond the bound."""
        while not self._was_cut_off and self._monitor.poll(0):
            self._was_cut_off = self._next_event() == zmq.EVENT_DISCONNECTED
        return self._was_cut_off

    def _wait_for_last_frames(self) -> None:
        """Let what the host wrote before it died come in: all of it has, once its connection is reported closed."""
        while not self._was_cut_off and self._monitor.poll(_LAST_FRAMES_MS):
            self._was_cut_off = self._next_event() == zmq.EVENT_DISCONNECTED

    def _next_event(self) -> int:
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)

    def _read(self, came: list[FromHost | HostLost]) -> None:
        while not self._is_over:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) != 1:
                raise InternalError(f"engine {self.engine_id} sent a message of {len(frames)} frames")
            came.append(self._decoded(frames[0]))

    def _decoded(self, frame: bytes) -> FromHost:
        if not self._is_ready:
            self._check_version(frame)
        message = self._codec.decode(frame)
        match message:
            case Ready():
                if self._is_ready:
                    raise InternalError(f"engine {self.engine_id} said twice that it is ready")
                self._is_ready = True
            case StartFailed():
                self._is_over = True
            case Replies():
                if not self._is_ready:
                    raise InternalError(f"engine {self.engine_id} replied before it was ready")
        return message

    def _check_version(self, frame: bytes) -> None:
        try:
            wire = msgspec.msgpack.decode(frame, type=_AnyReady).wire
        except (msgspec.ValidationError, msgspec.DecodeError):
            return  # no Ready: the codec says what it is
        if wire != WIRE_VERSION:
            what = f"the host of engine {self.engine_id} speaks wire version {wire}, we speak {WIRE_VERSION}"
            raise EngineStartFailed(what, "Run both from the same installation.")

    def _end(self) -> SageError:
        if not self._process.wait(_DYING_S):
            self._process.kill()
            self._process.reap()
            what = f"the host of engine {self.engine_id} broke its connection off, or sent more than allowed at once"
            return InternalError(f"{what} ({MAX_FRAME_BYTES:,} bytes)")
        how = f"the host of engine {self.engine_id} (pid {self._process.pid}) {self._process.reap()}"
        tail = self._process.log_tail()
        do = f"Its last words:\n{tail}" if tail else "It left no word; if memory was short, give it more. Try again."
        return EngineLost(how, do) if self._is_ready else EngineStartFailed(f"{how} before it was ready", do)

    def _lose(self, came: list[FromHost | HostLost], error: SageError) -> None:
        self._is_over = True
        came.append(HostLost(Failure.of(error)))

    def close(self, timeout_s: float) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        asked = self._is_ready and self._offer(self._encoder.encode(Shutdown()))  # a host that loads does not listen
        if not (asked and self._process.wait(0.7 * timeout_s)):
            self._process.terminate()
            self._process.wait(0.3 * timeout_s)
        self._close_sockets()
        self._process.close()

    def _close_sockets(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
        self._zmq.term()


def launch(spec: EngineSpec, engine_id: EngineId | None = None, *, start_timeout_s: float = 120.0) -> HostLink:
    """Start the host of one replica of `spec` and return at once; its Ready or StartFailed comes by `drain`.

    `engine_id`: one of `engine_ids(spec)`; by default the first. The host gives up after `start_timeout_s`.

    Raises: EngineStartFailed where the process cannot even be started.
    """
    name = engine_ids(spec)[0] if engine_id is None else engine_id
    directory = private_directory()
    arguments = [HOST_MODULE, "--socket", str(directory / "socket"), "--engine-id", name]
    arguments += ["--spec", msgspec.json.encode(spec).decode(), "--start-timeout-s", str(start_timeout_s)]
    return HostLink(name, (spec.model,), directory, arguments)


def _bound_socket(context: "zmq.Context[zmq.Socket[bytes]]", directory: Path) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, MAX_FRAMES)
    socket.setsockopt(zmq.RCVHWM, MAX_FRAMES)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
    with contextlib.suppress(FileNotFoundError):
        (directory / "socket").unlink()
    socket.bind(f"ipc://{directory / 'socket'}")
    return socket
