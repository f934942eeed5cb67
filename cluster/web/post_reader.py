"""Reads what is posted to one source: a thread listens and takes, the task's reads. Knows nothing of what is in it."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cluster.runtime.fine_loop import new_event_loop
from cluster.runtime.posts import KeptPost, PostLog
from cluster.web.listening import BACKLOG, QuietServer, bound_socket, config_of, url_of
from cluster.web.post_bodies import decoder_of
from cluster.web.post_door import BODY_S, PostDoor
from cluster.web.post_refusals import PostRefused, said_of
from cluster.web.posts_left import Position, posts_left
from cluster.web.protocol import Limits
from cluster.web.waiting_posts import WaitingPosts
from sage.base.clock import Clock, SystemClock
from sage.base.errors import CheckpointUnusable, SourceUnreadable
from sage.base.log import get_log
from sage.flow.connectors.http_source import HttpSource
from sage.flow.dealing import PartitionsRead

MIN_KEY_CHARS = 16
_ENDING_S = 5.0
DEFAULT_LIMITS = Limits(max_connections=256)  # the files of the process are those of its tasks too


class PostReader:
    """One reading. `read`, `position`, `cut` and `close` are for the task's thread."""

    def __init__(
        self,
        source: HttpSource,
        position: Any = None,
        *,
        instance: int = 0,
        num_instances: int = 1,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
        limits: Limits = DEFAULT_LIMITS,
        body_s: float = BODY_S,
    ) -> None:
        """Take the port, and listen from `wake_by` on; raises SourceUnreadable. `body_s`: for a body to come.

        `position`: PartitionsRead where there were several instances.
        """
        self._source = source
        self._part = (instance, num_instances)
        self._positions = _positions_of(source, position)
        self._clock = clock if clock is not None else SystemClock()
        self._limits = limits
        self._body_s = body_s
        self._decode = decoder_of(source)
        self._waiting = WaitingPosts(source, self._decode, instance)
        self._lock = threading.Lock()  # of what waits; never held while the disk is waited for
        self._log_lock = threading.Lock()  # taken before it
        self._log: PostLog | None = None
        self._logged: list[KeptPost] = []
        self._key = _key_of(source, environ)
        self._bound = _bound(source, instance)
        self.url = f"{_shown(self._bound)}/{source.name}"
        self._wake: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None
        self._server: QuietServer | None = None
        self._to_answer: list[asyncio.Future[None]] = []
        self._failed: BaseException | None = None
        self._is_closed = False

    # The task's thread.

    def keep_in(self, log: PostLog) -> None:
        self._log = log
        try:
            self._logged = log.load()
        except (OSError, msgspec.MsgspecError) as error:
            raise CheckpointUnusable(
                f"what was posted to {self._source.name!r} cannot be read again: {error}",
                'Check the folder and its permissions, or begin anew: resume="never".',
            ) from error

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Listen, and have `wake` called when something came; who calls waits until the server takes its connection."""
        self._wake = wake
        try:
            left = posts_left(self._positions, self._logged, *self._part)
            self._waiting.begin(int(self._clock.unix_s() * 1e6), left)
        except PostRefused as error:
            raise SourceUnreadable(
                f"what was posted to {self._source.name!r} before cannot be read as it is to be now: {error}",
                'Let its type fit what was posted, or begin anew: resume="never".',
            ) from error
        self._positions, self._logged = {}, []
        self._bound.listen(BACKLOG)

    def begin(self) -> None:
        room, clock = self._check_room, self._clock
        door = PostDoor(self._source, self._key, self._take, check_room=room, clock=clock, body_s=self._body_s)
        self._server = QuietServer(config_of(door, self._limits, said_of), self._say_where)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name=f"posts of {self._source.name}")
        self._thread.daemon = True
        self._thread.start()

    def read(self, max_records: int) -> Sequence[Any] | None:
        """Return what has come; None once there were as many posts as there may be. Raises SourceUnreadable."""
        with self._lock:
            if self._failed is not None:
                why = f"{type(self._failed).__name__}: {self._failed}"
                raise SourceUnreadable(f"{self.url} cannot be listened on any more: {why}") from self._failed
            return None if self._waiting.is_over else self._waiting.read(max_records)

    def cut(self, checkpoint_id: int) -> None:
        with self._log_lock:
            if self._log is not None:
                self._log.cut(checkpoint_id)

    def position(self) -> Any:
        with self._lock:
            return self._waiting.position()

    def close(self) -> None:
        """Answer what is being asked, and listen no more."""
        with self._lock:
            self._is_closed = True
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_ENDING_S)
        self._bound.close()
        with self._log_lock:
            if self._log is not None:
                self._log.close()

    # The server's thread.

    def _serve(self, server: QuietServer) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(server.serve(sockets=[self._bound]))
        except BaseException as error:  # noqa: BLE001 - the task says it: nobody else looks at this thread
            self._fail(error)
        else:
            if not self._is_closed:
                self._fail(RuntimeError("the server has ended"))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failed = error
        self._wake()

    def _say_where(self) -> None:
        get_log(source=self._source.name).info("listening", url=self.url)

    def _check_room(self, len_body_bytes: int) -> None:
        with self._lock:
            self._refuse_if_closed()
            self._waiting.check_room(len_body_bytes)

    async def _take(self, post: KeptPost) -> int:
        """Take a post together with those that have come by now; return how many records it has."""
        records = self._decode(post)
        with self._lock:
            self._refuse_if_closed()
            if not self._waiting.admit(post, records):
                return len(records)
        loop = asyncio.get_running_loop()
        if not self._to_answer:
            loop.call_soon(self._keep)  # once those have been admitted whose turn is before
        kept = loop.create_future()
        self._to_answer.append(kept)
        await kept
        return len(records)

    def _keep(self) -> None:
        """Keep what was admitted, and let it be acknowledged; the loop waits for the disk, as all its callers do."""
        to_answer, self._to_answer = self._to_answer, []
        refused: PostRefused | None = None
        with self._log_lock:
            with self._lock:
                posts = self._waiting.to_keep()
            try:
                self._refuse_if_closed()
                if self._log is not None:
                    self._log.append(posts)
            except PostRefused as error:
                refused = error
            except OSError as error:
                get_log(source=self._source.name).error("posts cannot be kept", why=str(error))
                refused = PostRefused(503, "not_kept", "The request could not be kept; try again later.")
            with self._lock:
                self._waiting.kept() if refused is None else self._waiting.not_kept()
        self._wake()
        for kept in to_answer:
            if not kept.done():  # its client may have left
                kept.set_result(None) if refused is None else kept.set_exception(refused)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise PostRefused(503, "source_ended", "The flow listens no more.")


def _positions_of(source: HttpSource, position: Any) -> dict[int, Position]:
    """Return where each instance of an earlier reading was, none at the start; raises CheckpointUnusable."""
    try:
        if isinstance(position, PartitionsRead):
            return {int(each.name): msgspec.convert(each.position, Position) for each in position.begun}
        return {} if position is None else {0: msgspec.convert(position, Position)}
    except msgspec.ValidationError as error:
        raise CheckpointUnusable(
            f"what was posted to {source.name!r}, and waited, is kept in a form that is not read here: {error}",
            'Go on with the version of SAGE that the checkpoint was taken with, or begin anew: resume="never".',
        ) from error


def _key_of(source: HttpSource, environ: Mapping[str, str]) -> str | None:
    """Return the key that callers send; raises SourceUnreadable where there is to be one and is none."""
    if source.key_env is None:
        return None
    key = environ.get(source.key_env, "").strip()
    if len(key) < MIN_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise SourceUnreadable(
            f"the variable {source.key_env} holds no key for what is posted to {source.name!r}, in the process that "
            "listens",
            f"Set it, where the task runs, to {MIN_KEY_CHARS} or more ASCII characters that nobody can guess, such as "
            "`openssl rand -hex 32` prints.",
        )
    return key


def _bound(source: HttpSource, instance: int) -> socket.socket:
    """Return a socket on the port of this instance: those of the others are before it and after it."""
    port = source.port + instance if source.port else 0
    if (fault := source.fault()) is not None:  # one that was not made by from_http
        raise SourceUnreadable(fault.what, fault.do)
    try:
        return bound_socket(source.host, port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        do = "Give another by port=; 0 takes a free one." if taken else "Check host= and port=, where the task runs."
        why = "it is taken" if taken else error.strerror
        raise SourceUnreadable(f"{source.name!r} cannot listen on {source.host}:{port}: {why}", do) from error


def _shown(bound: socket.socket) -> str:
    """Return the URL for others; of a socket that listens everywhere, by this machine's name."""
    url = url_of(bound)
    for everywhere in ("//0.0.0.0:", "//[::]:"):
        url = url.replace(everywhere, f"//{socket.gethostname()}:")
    return url
