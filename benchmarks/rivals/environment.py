"""An environment for each rival, with exact versions, in the user's cache: nothing of it meets ours.

Knows nothing of workloads.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.serving.model_store import default_cache_dir

INSTALL_TIMEOUT_S = 900.0

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Pins:
    """Which packages a rival is, and with which Pythons 3 it has wheels."""

    packages: tuple[str, ...]
    oldest: int
    newest: int


PINS: Mapping[str, Pins] = {
    "bytewax": Pins(("bytewax==0.21.1",), 11, 12),
    "pathway": Pins(("pathway==0.33.0",), 11, 13),
    "ray": Pins(("ray[data]==2.60.0", "numpy==2.2.6"), 11, 13),
    "zmq": Pins(("pyzmq==27.3.0", "msgspec==0.22.0"), 11, 13),
    "multiprocessing": Pins((), 11, 13),  # of Python itself
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a rival takes no part."""

    why: str


def python_of(name: str, say: Say, *, folder: Path | None = None, pins: Pins | None = None) -> Path | LeftOut:
    """Return the Python of a rival's environment, which is made where it is not there yet; `say` is told how far it is.

    `folder` holds environments, by default `rivals` in SAGE's cache.
    """
    pins = PINS[name] if pins is None else pins
    interpreter = _interpreter(pins)
    if interpreter is None:
        return LeftOut(f"it needs a Python of 3.{pins.oldest} to 3.{pins.newest}, and none is on the path")
    folder = folder or default_cache_dir(os.environ, sys.platform).parent / "rivals"
    digest = hashlib.sha256("\n".join((*pins.packages, str(interpreter))).encode()).hexdigest()[:12]
    made = folder / f"{name}-{digest}"
    if not made.exists():
        say(f"{name}: installing {', '.join(pins.packages) or 'nothing but Python'} into {made}, once")
        why = _make(made, interpreter, pins.packages)
        if why is not None:
            return LeftOut(why)
    return made / "bin" / "python"


def _interpreter(pins: Pins) -> Path | None:
    """Return a Python that a rival has wheels for: this one's where it fits, else one on the path."""
    if pins.oldest <= sys.version_info.minor <= pins.newest:
        return Path(sys.executable)
    found = (shutil.which(f"python3.{minor}") for minor in range(pins.newest, pins.oldest - 1, -1))
    return next((Path(path) for path in found if path is not None), None)


def _make(target: Path, interpreter: Path, packages: tuple[str, ...]) -> str | None:
    """Make an environment beside its place, and move it there whole; return why it could not be made, if so."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as folder:
            made = Path(folder) / "made"
            why = _run([str(interpreter), "-m", "venv", str(made)])
            pip = [str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            if packages:
                why = why or _run([*pip, "--only-binary", ":all:", *packages])
            if why is None and not target.exists():
                made.rename(target)
            return why
    except OSError as error:
        return f"its environment cannot be kept in {target}: {error}"


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command)}` took more than {INSTALL_TIMEOUT_S:.0f} s"
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return None if done.returncode == 0 else (said or [f"`{' '.join(command)}` failed"])[-1]
