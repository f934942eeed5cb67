"""The process around one engine: orders in, replies out, over a socket of its parent. Knows no plane.

It ends when its parent says so or is gone; it is the parent who obeys Ctrl-C. What libraries print goes to the log
that the parent gave it as standard output. Whoever gave the orders may be on another machine than the parent.
"""

import argparse
import contextlib
import faulthandler
import math
import os
import select
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import zmq

from cluster.runtime.curve import ClientTrust, connect
from cluster.runtime.host_process import LOG_NAME, tail_of
from cluster.runtime.keys import ClusterKeys
from cluster.serving.engines.build import engine_from_spec
from cluster.serving.engines.device_board import board_on
from cluster.serving.engines.figures import Said
from cluster.serving.engines.host_watch import answer_of
from cluster.serving.engines.link_socket import set_up
from cluster.serving.engines.port import (
    WIRE_VERSION,
    Abort,
    Engine,
    FromHost,
    Ready,
    Replies,
    Run,
    Seen,
    Shutdown,
    StartFailed,
    ToHost,
)
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.engines.tokenizer_port import AskTokenizer, Told
from sage.base.clock import Clock, SystemClock
from sage.base.codec import Codec
from sage.base.errors import EngineStartFailed, SageError
from sage.base.ids import EngineId
from sage.base.inference import Failure, Reply
from sage.base.tokenizing import TokenizerAnswer

_LAST_WORDS_MS = 2000  # how long what was sent last may take to leave
_EXIT_START_TIMEOUT = 3
_RECONNECT_MS = 5000  # the other end notices a loss before: nobody comes back to an engine that was given up


class Parent(Protocol):
    """Who gives orders and takes replies."""

    def orders(self, wait_s: float | None, *, or_room: bool = False) -> list[ToHost]:
        """Return what has come, after waiting up to `wait_s` (None: for ever) for it, or for room to send."""
        ...

    def offer(self, message: FromHost) -> bool:
        """Hand `message` to the transport; False where the parent does not read and its bound is reached."""
        ...


class SocketParent:
    """The way to whoever gives orders, bounded both ways; nothing is unpickled."""

    def __init__(self, address: str, trust: ClientTrust | None) -> None:
        self._wake_fd: int | None = None
        self._codec: Codec[ToHost] = Codec(ToHost)  # type: ignore[arg-type] # a union is no class to mypy
        self._encoder = msgspec.msgpack.Encoder()
        self._zmq = zmq.Context(io_threads=1)
        self._socket = self._zmq.socket(zmq.DEALER)
        set_up(self._socket, is_far=trust is not None)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        connect(self._socket, address, trust)

    def watch(self, wake_fd: int | None) -> None:
        """End a wait for orders also when this descriptor is readable."""
        self._wake_fd = wake_fd

    def orders(self, wait_s: float | None, *, or_room: bool = False) -> list[ToHost]:
        orders: list[ToHost] = []
        if self._has_come(wait_s, zmq.POLLIN | zmq.POLLOUT if or_room else zmq.POLLIN):
            while True:
                try:
                    orders.append(self._codec.decode(self._socket.recv(zmq.NOBLOCK)))
                except zmq.Again:
                    break
        return orders

    def _has_come(self, wait_s: float | None, events: int) -> bool:
        timeout_ms = None if wait_s is None else math.ceil(wait_s * 1000)
        if self._wake_fd is None or events & zmq.POLLOUT:  # an engine that rests may wait for room to send
            return bool(self._socket.poll(timeout_ms, events))
        poller = zmq.Poller()
        poller.register(self._socket, events)
        poller.register(self._wake_fd, zmq.POLLIN)
        return any(which is self._socket for which, _ in poller.poll(timeout_ms))

    def offer(self, message: FromHost) -> bool:
        try:
            self._socket.send(self._encoder.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        self._socket.close(linger=_LAST_WORDS_MS)
        self._zmq.term()


class Turns:
    """The present iteration of the engine, as the thread that answers for the host sees it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._has_begun = False
        self._since_s: float | None = None

    def begin(self) -> None:
        self._since_s = self._clock.monotonic_s()
        self._has_begun = True

    def end(self) -> None:
        self._since_s = None

    def busy_s(self) -> float | None:
        """Return how long the present iteration lasts, 0.0 between two; None before the first."""
        since_s = self._since_s
        if since_s is None:
            return 0.0 if self._has_begun else None
        return self._clock.monotonic_s() - since_s


def serve(engine: Engine, parent: Parent, turns: Turns) -> None:
    """Work until told to shut down. While the parent does not read, the engine rests: nothing piles up here."""
    unsent: Sequence[Reply] = ()
    said: Said | None = None
    untold: list[TokenizerAnswer] = []
    turns.begin()
    while True:
        due_in_s = 0.0 if engine.tokenizer.has_questions() else engine.due_in_s()
        wait_s = None if unsent or said or untold else due_in_s
        turns.end()
        orders = parent.orders(wait_s, or_room=bool(unsent or said or untold))
        turns.begin()
        for order in orders:
            match order:
                case Run(requests=requests):
                    engine.add(requests)
                case Abort(request_ids=request_ids):
                    engine.cancel(request_ids)
                case AskTokenizer(question=question):
                    engine.tokenizer.ask(question)
                case Shutdown():
                    return
        unsent = unsent or engine.step()
        if unsent and parent.offer(Replies(tuple(unsent))):
            unsent = ()
        while (said := said or engine.figures()) is not None and parent.offer(Seen(said)):
            said = None
        untold += engine.tokenizer.answers()
        while untold and parent.offer(Told(untold[0])):
            del untold[0]


def main() -> int:
    """Run one host; the exit status is 0 after a Shutdown, 1 where the engine could not be started."""
    arguments = _arguments()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    os.set_inheritable(arguments.alive_fd, False)
    started, turns = threading.Event(), Turns(SystemClock())
    watch = (Path(arguments.directory), arguments.start_timeout_s, started, turns, arguments.alive_fd)
    threading.Thread(target=_answer_parent, args=watch, name="parent-watch", daemon=True).start()
    parent = SocketParent(arguments.link, _trust(arguments))
    spec, log = msgspec.json.decode(arguments.spec, type=EngineSpec), Path(arguments.directory) / LOG_NAME
    engine = _loaded(spec, EngineId(arguments.engine_id), parent, log, arguments.page_fd)
    if engine is not None:
        started.set()
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: whoever watches for that sees to our end
            os.write(arguments.alive_fd, answer_of(0.0))  # unasked: from now on it may not be silent for long
        parent.offer(Ready(WIRE_VERSION, engine.info()))
        parent.watch(engine.wake_fd)
        is_well = _served(engine, parent, turns)
        engine.close()
    parent.close()
    return 0 if engine is not None and is_well else 1


def _served(engine: Engine, parent: SocketParent, turns: Turns) -> bool:
    """Serve; an engine that cannot go on says so in the log, whose end the parent shows."""
    try:
        serve(engine, parent, turns)
    except SageError as error:
        print(error, file=sys.stderr, flush=True)
        return False
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sage engine host")
    parser.add_argument("--link", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--engine-id", required=True)
    parser.add_argument("--spec", required=True)
    parser.add_argument("--start-timeout-s", type=float, required=True)
    parser.add_argument("--keys-folder", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--head-key", default="")
    parser.add_argument("--page-fd", type=int)
    parser.add_argument("--alive-fd", type=int, required=True)
    return parser.parse_args()


def _trust(arguments: argparse.Namespace) -> ClientTrust | None:
    """Return by what we are known over `tcp://`: the keys of the node that started us."""
    if not arguments.head_key:
        return None
    return ClientTrust(ClusterKeys(Path(arguments.keys_folder)).curve(arguments.key), arguments.head_key)


def _loaded(spec: EngineSpec, engine_id: EngineId, parent: Parent, log: Path, page: int | None) -> Engine | None:
    try:
        return engine_from_spec(spec, engine_id, board_on(page) if spec.kind == "openvino" else None)
    except EngineStartFailed as error:
        do = error.do or f"Its last words:\n{tail_of(log)}"
        parent.offer(StartFailed(Failure.of(EngineStartFailed(error.what, do))))
    except SageError as error:
        parent.offer(StartFailed(Failure.of(error)))
    except Exception as error:  # noqa: BLE001 - a library's own error: told to the parent, its traceback to the log
        traceback.print_exc()
        what = f"engine {engine_id} could not load {spec.target!r}: {type(error).__name__}: {error}"
        parent.offer(StartFailed(Failure.of(EngineStartFailed(what))))
    return None


def _answer_parent(
    directory: Path, start_timeout_s: float, started: threading.Event, turns: Turns, alive_fd: int
) -> None:
    """Say, whenever the parent asks, how the engine is; end this process as soon as the parent is gone.

    Whatever the engine is doing then; and leave no file behind.
    """
    clock = SystemClock()
    until_s = clock.monotonic_s() + start_timeout_s
    stdin = sys.stdin.fileno()
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    while True:
        wait_s = None if started.is_set() else max(0.0, until_s - clock.monotonic_s())
        if poll.poll(None if wait_s is None else wait_s * 1000):
            if not os.read(stdin, 4096):
                shutil.rmtree(directory, ignore_errors=True)
                os._exit(0)
            with contextlib.suppress(BrokenPipeError):  # it asked, and is gone: the next read says so
                os.write(alive_fd, answer_of(turns.busy_s()))
        elif not started.is_set():
            os.write(2, f"the engine was not ready within {start_timeout_s:g} s\n".encode())
            os._exit(_EXIT_START_TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
