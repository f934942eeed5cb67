"""The environments of engines on this machine: find, install, list. Knows nothing of how engines are started.

An environment counts as installed once its note is written, last: the SHA-256 of the lock it was made from. One whose
lock has changed since, or whose install was interrupted, is gone on with by the next install.
"""

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from cluster.serving.environment_install import Say, check_import, fill, find_uv
from cluster.serving.environment_recipes import RECIPES, SERVER_MODULE, Recipe, recipe_of, version_in
from sage.base.amounts import megabytes
from sage.base.errors import ExtraMissing
from sage.base.settings import EnvironmentsSettings

_NOTE = "sage-environment.json"
_HERE = Path(__file__).parent

Fill = Callable[[Path, Path, str, Say], None]
"""Makes a folder an environment with what a lock pins, asking an index too: see `fill`."""


class EnvironmentState(StrEnum):
    INSTALLED = "installed"
    MISSING = "missing"
    UNFINISHED = "unfinished"
    OUTDATED = "outdated"


class StoredEnvironment(msgspec.Struct, frozen=True):
    """A recipe as it is on this machine; `version` is what an install would bring."""

    name: str
    about: str
    state: EnvironmentState
    version: str
    path: str

    @property
    def is_usable(self) -> bool:
        """Say whether engines can run in it."""
        return self.state in (EnvironmentState.INSTALLED, EnvironmentState.OUTDATED)


class _Note(msgspec.Struct, frozen=True):
    lock_sha256: str


class EnvironmentStore:
    """The environments in `folder`. `fill` and `check` are what a test replaces."""

    def __init__(
        self,
        folder: Path,
        *,
        fill: Fill = lambda folder, lock, index, say: fill(folder, lock, index, say, uv=find_uv()),
        check: Callable[[Path, str], None] = check_import,
    ) -> None:
        self.folder = folder
        self._fill = fill
        self._check = check

    def python(self, name: str) -> Path:
        """Return the Python of an environment that is installed.

        Raises: ConfigInvalid where there is no such recipe, ExtraMissing.
        """
        found = self._stored(recipe_of(name))
        if not found.is_usable:
            what = f"the engine environment {name} is {found.state} on this machine"
            raise ExtraMissing(what, f"Run: sage engines install {name}")
        return self._python(name)

    def install(self, name: str, say: Say = lambda line: None) -> bool:
        """Bring an environment here, and say whether anything had to be done. One install at a time.

        Raises: ConfigInvalid where there is no such recipe; ExtraMissing, with what came so far kept for the next.
        """
        recipe = recipe_of(name)
        if sys.platform != "linux":
            raise ExtraMissing(f"{recipe.about} runs on Linux, not on {sys.platform}")
        with self._alone():
            if self._state(recipe) is EnvironmentState.INSTALLED:
                return False
            place = self.folder / name
            (place / _NOTE).unlink(missing_ok=True)
            version = version_in(_lock(recipe).read_text(encoding="ascii"), recipe.name)
            say(f"{name} {version}, into {place} (about {megabytes(recipe.disk_bytes)})")
            self._fill(place, _lock(recipe), recipe.index, say)
            say(f"looking whether it imports {SERVER_MODULE}")
            self._check(self._python(name), SERVER_MODULE)
            _write_note(place / _NOTE, _Note(_sha256_of_lock(recipe)))
            return True

    def list(self) -> tuple[StoredEnvironment, ...]:
        """Return every recipe as it is here."""
        return tuple(self._stored(recipe) for recipe in RECIPES)

    def _stored(self, recipe: Recipe) -> StoredEnvironment:
        version = version_in(_lock(recipe).read_text(encoding="ascii"), recipe.name)
        return StoredEnvironment(
            recipe.name, recipe.about, self._state(recipe), version, str(self.folder / recipe.name)
        )

    def _python(self, name: str) -> Path:
        return self.folder / name / "bin" / "python"

    def _state(self, recipe: Recipe) -> EnvironmentState:
        place = self.folder / recipe.name
        try:
            note = msgspec.json.decode((place / _NOTE).read_bytes(), type=_Note)
        except (FileNotFoundError, msgspec.DecodeError):
            return EnvironmentState.UNFINISHED if place.exists() else EnvironmentState.MISSING
        if not self._python(recipe.name).exists():
            return EnvironmentState.UNFINISHED
        is_same = note.lock_sha256 == _sha256_of_lock(recipe)
        return EnvironmentState.INSTALLED if is_same else EnvironmentState.OUTDATED

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            do = "Name another folder in SAGE_ENVIRONMENTS_DIR."
            raise ExtraMissing(f"{self.folder} cannot be used: {error}", do) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise ExtraMissing(f"another install in {self.folder} goes on", "Run this again after it.") from error
        finally:
            os.close(lock)


def open_environments(settings: EnvironmentsSettings) -> EnvironmentStore:
    """Return the store in the folder that the settings name, by default the user's data."""
    if settings.dir is not None:
        return EnvironmentStore(Path(settings.dir).expanduser())
    return EnvironmentStore(default_environments_dir(os.environ))


def default_environments_dir(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_DATA_HOME/sage/environments`, else that of the user's data.

    >>> default_environments_dir({"HOME": "/home/x"})
    PosixPath('/home/x/.local/share/sage/environments')
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    return Path(environ.get("XDG_DATA_HOME") or Path(home) / ".local" / "share") / "sage" / "environments"


def _lock(recipe: Recipe) -> Path:
    return _HERE / recipe.lock


def _sha256_of_lock(recipe: Recipe) -> str:
    return hashlib.sha256(_lock(recipe).read_bytes()).hexdigest()


def _write_note(path: Path, note: _Note) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(note))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
