"""Folders that all machines of a simulated cluster mount: files of checkpoints, and who may write. Decides no fault.

What a write acknowledged is there for good. Whoever dies while writing leaves a file of which the end is missing.
"""

from collections.abc import Iterable
from errno import ENOSPC

from cluster.checkpoints.folder import PART
from cluster.checkpoints.manifest import SUFFIX as MANIFEST
from sage.base.errors import CheckpointUnusable
from tests.simulation.damage import damaged
from tests.simulation.process import SimulatedProcess
from tests.simulation.world import World

_NUM_NEWEST = 3
_NEWEST_SHARE = 0.7
_GONE_SHARE = 0.2
_SLOW_SHARE = 0.1
_SLOW_S = 0.5


class SharedFiles:
    """Outlives all machines; no file grows for as long as it `is_full`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_full = False
        self.num_lost = 0  # files whose writer died before they were whole
        self._folders: dict[str, dict[str, bytes]] = {}
        self._holders: dict[str, SimulatedProcess] = {}

    def disk(self, folder: str) -> "SharedFolder":
        return SharedFolder(self, self._folders.setdefault(folder, {}))

    def num_complete(self) -> int:
        """Return how many checkpoints there are, good or not."""
        return sum(name.endswith(MANIFEST) for files in self._folders.values() for name in files)

    def rot(self) -> tuple[str, str] | None:
        """Let the disk spoil a file that it has acknowledged, and say nothing of it; None: there is none.

        Return the folder, and what was done, for people.
        """
        rng, folders = self.world.rng, [folder for folder, files in self._folders.items() if any(files.values())]
        if not folders:
            return None
        folder = rng.choice(folders)
        names = [name for name, content in self._folders[folder].items() if content]
        name = rng.choice(names[-_NUM_NEWEST:] if rng.random() < _NEWEST_SHARE else names)
        if name.endswith((MANIFEST, PART)) and rng.random() < _GONE_SHARE:
            del self._folders[folder][name]
            return folder, f"{name} is gone"
        self._folders[folder][name], what = damaged(self._folders[folder][name], rng)
        return folder, f"{name} {what}"

    def lock(self, folder: str, holder: SimulatedProcess) -> "FolderHeld":
        """Let one process at a time write, until it releases it or dies."""
        known = self._holders.get(folder)
        if known is not None and known.is_alive:
            raise CheckpointUnusable(f"{folder} is in use by {known.name}", "Wait for it to end.")
        self._holders[folder] = holder
        return FolderHeld(self._holders, folder, holder)

    def rest(self) -> None:
        """Let others go on while something is written, or the writer be killed."""
        if self.world.rng.random() < _SLOW_SHARE:
            self.world.wait(lambda: False, self.world.rng.random() * _SLOW_S, by=object())
        else:
            self.world.yield_now()


class FolderHeld:
    """A lock."""

    def __init__(self, holders: dict[str, SimulatedProcess], folder: str, holder: SimulatedProcess) -> None:
        self._holders = holders
        self._folder = folder
        self._holder = holder

    def release(self) -> None:
        if self._holders.get(self._folder) is self._holder:
            del self._holders[self._folder]


class SharedFolder:
    """A Disk."""

    def __init__(self, shared: SharedFiles, files: dict[str, bytes]) -> None:
        self._shared = shared
        self._files = files

    def names(self) -> list[str]:
        return sorted(self._files)

    def files_of(self, name: str) -> dict[str, int]:
        return {file: len(content) for file, content in self._files.items() if file.startswith(f"{name}/")}

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        if name in self._files:
            raise FileExistsError(name)
        self._put(name, b"".join(chunks))

    def replace(self, name: str, content: bytes) -> None:
        self._put(f"{name}.new", content)
        self._files[name] = self._files.pop(f"{name}.new")
        self._shared.rest()  # who dies here does not know that it is there

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(name)
        return self._files[name]

    def read_part(self, name: str, offset_bytes: int, len_bytes: int) -> bytes:
        return self.read(name)[offset_bytes : offset_bytes + len_bytes]

    def rename(self, name: str, new_name: str) -> None:
        self._files[new_name] = self._files.pop(name)

    def mark(self, name: str, before: str | None) -> None:
        self._files[name] = self._files.pop(before) if before is not None else b""

    def remove(self, name: str) -> None:
        self._files.pop(name, None)
        self._shared.rest()

    def _put(self, name: str, content: bytes) -> None:
        self._files[name] = content[: self._shared.world.rng.randrange(len(content) + 1)]
        self._shared.num_lost += 1
        self._shared.rest()
        if self._shared.is_full:
            raise OSError(ENOSPC, "the simulated disk is full")
        self._files[name] = content
        self._shared.num_lost -= 1
        self._shared.rest()
