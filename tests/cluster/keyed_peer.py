"""A peer of a head that says what it likes: by a key, or over `ipc://`. Knows nothing of what may be said."""

from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from cluster.runtime.control import ControlMessage
from cluster.runtime.control_frames import FrameWriter
from cluster.runtime.curve import ClientTrust, connect, set_bounds
from cluster.runtime.handshakes import Handshake, HandshakeMonitor


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `text` holds whatever it says, readable or not."""

    frames: tuple[bytes, ...]

    @property
    def text(self) -> str:
        return " ".join(frame.decode("utf-8", "replace") for frame in self.frames)


class KeyedPeer:
    """One connection, on a context of its own."""

    def __init__(self, address: str, trust: ClientTrust | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        set_bounds(self._socket)
        self.monitor = HandshakeMonitor(self._socket)
        self._writer = FrameWriter()
        connect(self._socket, address, trust)

    def say(self, message: ControlMessage) -> list[bytes]:
        """Send `message` as the next of this connection; return its frames."""
        frames = self._writer.frames(message, 0)
        self.send(frames)
        return frames

    def send(self, frames: Sequence[bytes]) -> None:
        self._socket.send_multipart(frames, zmq.NOBLOCK)

    def hear(self, timeout_s: float) -> Answer | None:
        """Return what comes next; None where nothing does in time."""
        if not self._socket.poll(round(timeout_s * 1000)):
            return None
        return Answer(tuple(self._socket.recv_multipart()))

    def is_let_in(self, timeout_s: float) -> bool:
        """Wait for the end of the handshake; say whether it went well."""
        self.monitor.wait(timeout_s)
        self.monitor.drain()
        return self.monitor.counts[Handshake.SUCCEEDED] > 0

    def close(self) -> None:
        self.monitor.close()
        self._socket.close(linger=0)
        self._context.term()

    def __enter__(self) -> "KeyedPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
