"""The document that every benchmark prints: what was run, where, and what came out. Knows no benchmark."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil

from sage.base.clock import Clock
from sage.base.errors import SinkUnwritable, SourceUnreadable

_GIT_TIMEOUT_S = 10.0


class Hardware(msgspec.Struct, frozen=True):
    """Where a benchmark ran. `load_1min`: the load average as it began; near 0 on a quiet machine."""

    cpu: str
    num_cpus: int
    memory_bytes: int
    system: str
    python: str
    load_1min: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What all results have: what was measured, on how many records or requests, and how far to trust it.

    `checked`: what came out was compared with an oracle. `simulated`: an engine took part that only acts as one.
    """

    engine: str
    workload: str
    n: int
    checked: bool
    simulated: bool


class Document(msgspec.Struct, frozen=True):
    """One run of one command. `commit` ends in `+` where more than result files had changes that were not committed."""

    command: str
    commit: str
    machine: Hardware
    seed: int
    started_unix_s: float
    results: tuple[dict[str, object], ...]


def document_of(command: str, *, seed: int, clock: Clock, results: Callable[[], Sequence[Result]]) -> Document:
    """Run `results` and return the document of what came out; the machine is looked at before."""
    machine, commit, started_unix_s = this_machine(), this_commit(), clock.unix_s()
    rows = tuple(msgspec.to_builtins(result) for result in results())
    return Document(command, commit, machine, seed, started_unix_s, rows)


def encode(document: Document) -> str:
    """Return the document as indented JSON with a line end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def write(document: Document, target: str) -> None:
    """Write the document to the file `target`, or to standard output where it is `-`; raises SinkUnwritable."""
    if target == "-":
        sys.stdout.write(encode(document))
        return
    try:
        Path(target).write_text(encode(document), encoding="utf-8")
    except OSError as error:
        raise SinkUnwritable(f"cannot write {target}: {error}", "Name a file in a folder that exists.") from error


def read(path: Path) -> Document:
    """Return the document in `path`; raises SourceUnreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except OSError as error:
        raise SourceUnreadable(f"cannot read {path}: {error}", "Name a result file of sage-benchmark.") from error
    except msgspec.DecodeError as error:
        raise SourceUnreadable(
            f"{path} holds no benchmark document: {error}", "Name a file that --json wrote."
        ) from error


def this_machine() -> Hardware:
    """Describe the machine this runs on."""
    return Hardware(
        cpu=_cpu_name(),
        num_cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load_1min=round(os.getloadavg()[0], 2),
    )


def this_commit() -> str:
    """Return the commit of this tree, with `+` where it holds changes to more than result files; "unknown" outside of
    a checkout."""
    return commit_of(Path(__file__).parent)


def commit_of(folder: Path) -> str:
    """Return the commit of the checkout that `folder` lies in, marked like that of `this_commit`."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return "unknown"
    everything_else = (":(top)", ":(top,exclude)benchmarks/results")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *everything_else)
    return f"{commit}+" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
