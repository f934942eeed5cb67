"""Where a cluster of this machine keeps its socket, its log and what it says of itself. Knows no head and no node.

A running head holds the lock of its folder, so that who comes later knows whether it lives, whatever became of its
process number. All of it lies below a folder that this user alone may enter.
"""

import contextlib
import fcntl
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sage.base.clock import SystemClock
from sage.base.errors import ClusterRunning, ConfigInvalid, InternalError
from sage.base.settings import ClusterSettings

DEFAULT_NAME = "default"
_ABOVE = ("sage", "clusters")
_MAX_PATH_BYTES = 100  # sun_path has 104 bytes on macOS, 108 on Linux
_LOOK_EVERY_S = 0.02
_CLEARING_S = 2.0
_GOING_S = 1.0
_GLANCE_S = 0.5
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class Beacon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a running cluster says of itself. `control` is for this machine, `address` what others join and submit to.

    `address` is None where the head listens on this machine's socket alone. `joined_as`: the head is elsewhere, and
    this machine is a node of that name; `control` is "" then.
    """

    name: str
    pid: int
    control: str
    address: str | None
    started_unix_s: float
    joined_as: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """The folder of one cluster: made by its head, removed by it or by whoever finds it abandoned."""

    name: str
    folder: Path

    @property
    def socket(self) -> Path:
        """Where the head listens for this machine."""
        return self.folder / "control"

    @property
    def log(self) -> Path:
        return self.folder / "head.log"

    @property
    def control(self) -> str:
        """The address of the socket, for ZeroMQ."""
        return f"ipc://{self.socket}"

    def make(self) -> None:
        """Make the folder, for this user alone; raises ConfigInvalid where a socket in it would have too long a name.

        Raises InternalError where the folder is another user's or others may enter it.
        """
        if len(os.fsencode(self.socket)) > _MAX_PATH_BYTES:
            what = f"the socket {self.socket} has a name longer than {_MAX_PATH_BYTES} bytes"
            raise ConfigInvalid(what, "Give the cluster a shorter name, or set XDG_RUNTIME_DIR to a shorter folder.")
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _check_private(self.folder)

    def take(self) -> int | None:
        """Take the lock that says that the cluster lives; return its descriptor, to be kept open, or None if taken."""
        return self._lock(os.O_CREAT)

    def _lock(self, creating: int) -> int | None:
        held = os.open(self.folder / "lock", os.O_RDWR | creating | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        return held

    def lives(self) -> bool:
        """Say whether a head holds the lock."""
        try:
            held = os.open(self.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(held)
        return False

    def check_free(self) -> None:
        """Remove what a killed process has left; raises ClusterRunning where something of the cluster runs here."""
        beacon = self.beacon()
        if beacon is not None and not _is_alive(beacon.pid):
            self.wait_ended(_CLEARING_S)  # whoever of it is left clears up, and holds the lock meanwhile
        if not self.lives():
            self._remove_dead()
            return
        how = ", not ready yet"
        if beacon is not None:
            how = f" at {beacon.address or beacon.control} (process {beacon.pid})"
            how += f", with this machine as its node {beacon.joined_as}" if beacon.joined_as is not None else ""
        named = named_by(self.name)
        do = f"Look at it: sage-cluster status{named}. End it: sage-cluster stop{named}. One beside it: --name NAME."
        raise ClusterRunning(f"cluster {self.name} runs already{how}", do)

    def _remove_dead(self) -> None:
        """Remove the folder if somebody has lived in it; one that another start has just made stays."""
        try:
            held = self._lock(0)
        except FileNotFoundError:
            return
        if held is not None:
            self.remove()
            os.close(held)

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait until nobody holds the lock; say whether that is so. Looks 50 times a second: flock has no time-out."""
        clock, pause = SystemClock(), threading.Event()
        until_s = clock.monotonic_s() + timeout_s
        while self.lives():
            if clock.monotonic_s() > until_s:
                return False
            pause.wait(_LOOK_EVERY_S)
        return True

    def say(self, beacon: Beacon) -> None:
        """Write what the cluster says of itself, whole or not at all."""
        partial = self.folder / f".beacon.{os.getpid()}"
        partial.write_bytes(msgspec.json.encode(beacon))
        partial.replace(self.folder / "beacon.json")

    def beacon(self) -> Beacon | None:
        """Return what the running cluster says of itself; None where none runs or it is not ready yet."""
        if not self.lives():
            return None
        try:
            return msgspec.json.decode((self.folder / "beacon.json").read_bytes(), type=Beacon)
        except (OSError, msgspec.DecodeError):
            return None

    def clear_after(self, pid: int | None = None) -> None:
        """Remove the folder if the process that spoke here last, `pid` or any, is gone; else leave all as it is.

        That of `pid` may be about to go: its lock is waited for, for a moment. Whoever looks at the lock just now, to
        see whether that process lives, has let go of it within a moment too.
        """
        with contextlib.suppress(OSError):
            if pid is not None:
                self.wait_ended(_GOING_S)
            held = self._take_within(_GLANCE_S)
            if held is None:
                return
            try:
                said = msgspec.json.decode((self.folder / "beacon.json").read_bytes(), type=Beacon)
                if pid in (None, said.pid):
                    self.remove()
            except msgspec.DecodeError:
                return
            finally:
                os.close(held)

    def _take_within(self, timeout_s: float) -> int | None:
        """Take the lock as soon as it can be had; None where it cannot. Raises FileNotFoundError without one."""
        clock, pause = SystemClock(), threading.Event()
        until_s = clock.monotonic_s() + timeout_s
        while True:
            held = self._lock(0)  # where there is none, somebody else is clearing up: a new one would stay
            if held is not None or clock.monotonic_s() > until_s:
                return held
            pause.wait(_LOOK_EVERY_S)

    def remove(self) -> None:
        """Remove the folder with everything in it, and those above it that are empty then and ours.

        The folder of a cluster that nobody else finds lies elsewhere: what is above it is the user's.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parts[-3:-1] == _ABOVE:
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()
                self.folder.parent.parent.rmdir()


def named_by(name: str) -> str:
    """Return the option that names a cluster, for commands to be typed: " --name NAME", or "" for the default."""
    return "" if name == DEFAULT_NAME else f" --name {name}"


def place_of_cluster(name: str = DEFAULT_NAME, environ: Mapping[str, str] | None = None) -> ClusterPlace:
    """Return where the cluster of this name is kept; raises ConfigInvalid where that is no name for a folder."""
    if not _NAME.fullmatch(name):
        what = f"a cluster cannot be named {name!r}"
        raise ConfigInvalid(what, "Use up to 32 letters, digits, '-', '_' and '.'.", param="name")
    return ClusterPlace(name, _clusters_folder(os.environ if environ is None else environ) / name)


def places_here(environ: Mapping[str, str] | None = None) -> Iterator[ClusterPlace]:
    """Yield the places of all clusters that have a folder here, alive or not."""
    folder = _clusters_folder(os.environ if environ is None else environ)
    if folder.is_dir():
        yield from (ClusterPlace(path.name, path) for path in sorted(folder.iterdir()) if path.is_dir())


def clear_abandoned(environ: Mapping[str, str] | None = None) -> None:
    """Remove the folders that killed heads and nodes have left here, of whatever cluster."""
    for place in places_here(environ):
        place.clear_after()


def state_of_cluster(name: str, settings: ClusterSettings, environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of what a cluster must know again after its head has ended; nothing is made."""
    if settings.state_dir is not None:
        return Path(settings.state_dir).expanduser() / name
    return _user_state(os.environ if environ is None else environ) / "sage" / "journals" / name


def state_of_letters(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the dead letters that this user's tasks have set aside on this machine."""
    return _user_state(os.environ if environ is None else environ) / "sage" / "dead-letters"


def _clusters_folder(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime).joinpath(*_ABOVE)
    return _user_state(environ).joinpath(*_ABOVE)


def _user_state(environ: Mapping[str, str]) -> Path:
    return Path(
        environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/state")
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_private(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InternalError(
            f"{folder} belongs to user {found.st_uid} with mode {found.st_mode & 0o777:o}",
            "A cluster's folder is entered by its user alone: chmod 700 it, or remove it.",
        )
