"""Start an engine host and hold the near end of it: an EngineLink over ZeroMQ. Knows no engine and no plane."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.runtime.host_process import private_directory
from cluster.serving.engines.child_host import ChildHost, Host
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.link_socket import LinkSocket
from cluster.serving.engines.port import (
    MAX_FRAME_BYTES,
    WIRE_VERSION,
    FromHost,
    Ready,
    Replies,
    Run,
    Seen,
    Shutdown,
    StartFailed,
    ToHost,
)
from cluster.serving.engines.spec import EngineSpec, engine_ids
from cluster.serving.engines.tokenizer_port import Told
from sage.base.codec import UNSENDABLE, Codec
from sage.base.errors import (
    EngineLost,
    EngineStartFailed,
    InternalError,
    InvalidRequest,
    Overloaded,
    SageError,
)
from sage.base.ids import EngineId
from sage.base.inference import Failed, Failure, Request

HOST_MODULE = "cluster.serving.engines.host"


class _AnyReady(msgspec.Struct, tag="ready"):
    """What a Ready of every wire version has, past and to come."""

    wire: int


class HostLink:
    """A host and the socket to it; an EngineLink."""

    def __init__(
        self,
        engine_id: EngineId,
        models: tuple[str, ...],
        socket: LinkSocket,
        host: Host,
        on_closed: Callable[[], object] = lambda: None,
    ) -> None:
        """Own both. `on_closed` is called once, when nothing of the host is left."""
        self.engine_id = engine_id
        self.models = models
        self.is_asked = isinstance(host, ChildHost)
        self._socket = socket
        self._host = host
        self._on_closed = on_closed
        self._is_ready = False
        self._is_over = False
        self._is_closed = False
        self._hang = ""
        self._blame = ""
        self._local: list[Failed] = []
        self._encoder = msgspec.msgpack.Encoder()
        self._codec: Codec[FromHost] = Codec(FromHost)  # type: ignore[arg-type] # a union is no class to mypy

    def fds(self) -> tuple[int, ...]:
        return (*self._socket.fds(), self._host.alive_fd)

    def send(self, message: ToHost) -> bool:
        if self._is_over or self._is_closed:
            return False
        data = self._encoded(message)
        if data is not None:
            return self._socket.send(data)
        assert isinstance(message, Run), message
        for request in message.requests:
            self._send_alone(request)
        return True

    def ask(self) -> None:
        if not (self._is_over or self._is_closed):
            self._hang = self._host.ask() or self._hang

    def log(self, mark: LogMark | None) -> EngineLog:
        if self._is_closed:
            raise InvalidRequest(f"the process of engine {self.engine_id!r} has just ended")
        return self._host.log(mark)

    def end_for(self, why: str) -> None:
        """Have the host killed, and its requests fail by EngineLost that says why; from any thread."""
        self._blame = why
        self._host.kill()

    def _encoded(self, message: ToHost) -> bytes | None:
        try:
            data = self._encoder.encode(message)
        except UNSENDABLE:
            return None
        return data if len(data) <= MAX_FRAME_BYTES else None

    def _send_alone(self, request: Request) -> None:
        """Send a request of a Run that could not travel whole; what cannot be sent fails alone."""
        data = self._encoded(Run((request,)))
        if data is None:
            error: SageError = InvalidRequest(
                f"the request holds what cannot be sent, or is longer than {MAX_FRAME_BYTES:,} bytes",
                "Send less: valid Unicode as plain str, and numbers of 64 bits.",
            )
        elif self._socket.send(data):
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
        self._host.hear()
        has_ended = self._host.has_ended()
        try:
            if has_ended:
                self._socket.wait_for_last_frames()
            is_cut_off = self._socket.is_cut_off()
            self._read(came)
        except SageError as error:
            self._host.kill()
            self._host.reap()
            self._lose(came, error)
            return came
        if (has_ended or is_cut_off) and not self._is_over:
            self._lose(came, self._end())
        return came

    def _read(self, came: list[FromHost | HostLost]) -> None:
        while not self._is_over and (frames := self._socket.receive()) is not None:
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
                self._host.serves()
            case StartFailed():
                self._is_over = True
            case Replies() | Seen() | Told():
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
        if not self._host.wait(self._host.dying_s):
            self._host.kill()
            how = self._host.reap()
            if self._host.is_out_of_reach:
                return EngineLost(f"the host of engine {self.engine_id} {how}")
            what = f"the host of engine {self.engine_id} broke its connection off, or sent more than allowed at once"
            return InternalError(f"{what} ({MAX_FRAME_BYTES:,} bytes)")
        how = f"the host of engine {self.engine_id} {self._host.reap()}"
        tail = self._host.log_tail()
        do = f"Its last words:\n{tail}" if tail else "It left no word; if memory was short, give it more. Try again."
        if self._blame:
            return EngineLost(f"engine {self.engine_id} was ended: {self._blame}", "Its requests may be asked again.")
        if self._hang:
            return EngineLost(f"engine {self.engine_id} hung and was ended: {self._hang}", do)
        if self._host.is_out_of_reach:
            return EngineLost(how, "Its requests may be asked again.")
        return EngineLost(how, do) if self._is_ready else EngineStartFailed(f"{how} before it was ready", do)

    def _lose(self, came: list[FromHost | HostLost], error: SageError) -> None:
        self._is_over = True
        came.append(HostLost(Failure.of(error)))

    def close(self, timeout_s: float) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        # a host that loads does not listen
        asked = self._is_ready and self._socket.send(self._encoder.encode(Shutdown()))
        if not (asked and self._host.wait(0.7 * timeout_s)):
            self._host.terminate()
            self._host.wait(0.3 * timeout_s)
        self._socket.close()
        self._host.close()
        self._on_closed()


class ChildLink(HostLink):
    """A link to a host that is a child of this process."""

    def __init__(
        self,
        engine_id: EngineId,
        models: tuple[str, ...],
        directory: Path,
        arguments: list[str],
        *,
        max_iteration_s: float = 10.0,
        environment: Mapping[str, str] | None = None,
        on_closed: Callable[[], object] = lambda: None,
    ) -> None:
        """Listen, then start the process. Use `launch`; `arguments` is a way in for tests.

        Raises: EngineStartFailed where the process cannot even be started.
        """
        self.directory = directory
        socket = LinkSocket(lambda socket: socket.bind(f"ipc://{directory / 'socket'}"))
        try:
            host = ChildHost(directory, arguments, max_iteration_s=max_iteration_s, environment=environment)
        except OSError as error:
            socket.close()
            raise EngineStartFailed(f"engine {engine_id} could not be started: {error}") from error
        self.pid = host.pid
        super().__init__(engine_id, models, socket, host, on_closed)


def launch(
    spec: EngineSpec,
    engine_id: EngineId | None = None,
    *,
    start_timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    on_closed: Callable[[], object] = lambda: None,
) -> ChildLink:
    """Start the host of one replica of `spec` here and return at once; its Ready or StartFailed comes by `drain`.

    `engine_id`: one of `engine_ids(spec)`; by default the first. The host gives up after `start_timeout_s`,
    by default the spec's.
    `environment`: what differs in its own. `on_closed` is called once, when nothing of it is left.

    It keeps no room: what `spec.demand` asks for is placed, and put into `environment`, by whoever calls.

    Raises: EngineStartFailed where the process cannot even be started.
    """
    name = engine_ids(spec)[0] if engine_id is None else engine_id
    directory = private_directory()
    arguments = host_arguments(spec, name, directory, f"ipc://{directory / 'socket'}", start_timeout_s=start_timeout_s)
    return ChildLink(
        name,
        spec.models,
        directory,
        arguments,
        max_iteration_s=spec.max_iteration_s,
        environment=environment,
        on_closed=on_closed,
    )


def host_arguments(
    spec: EngineSpec, engine_id: EngineId, directory: Path, link: str, *, start_timeout_s: float | None = None
) -> list[str]:
    """Return what comes after `python -m` to run a host that connects to `link`; `directory` is removed with it."""
    arguments = [HOST_MODULE, "--link", link, "--directory", str(directory), "--engine-id", engine_id]
    timeout_s = spec.start_timeout_s if start_timeout_s is None else start_timeout_s
    return [*arguments, "--spec", msgspec.json.encode(spec).decode(), "--start-timeout-s", str(timeout_s)]
