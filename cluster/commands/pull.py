"""Pulling models with progress on the terminal, also for commands that need some. Knows nothing of flows."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cluster.serving.model_store import ModelStore, OnProgress, PullProgress, open_store
from sage.base.amounts import megabytes
from sage.base.catalog import entry_of
from sage.base.config import load_settings
from sage.base.errors import ModelMissing


def ensure_models(names: Sequence[str], *, interactive: bool | None = None, store: ModelStore | None = None) -> None:
    """See to it that these models of the catalogue are on this machine.

    `interactive`: whether somebody can be asked (None: standard input and error are a terminal). Then the pull is
    offered; otherwise, or where it is declined, raises ModelMissing, which names what to run.
    """
    store = store or open_store(load_settings().models)
    missing = [name for name in dict.fromkeys(names) if not _is_here(store, name)]
    if not missing:
        return
    asked = sys.stdin.isatty() and sys.stderr.isatty() if interactive is None else interactive
    if not (asked and _agrees(missing)):
        plural = "models {} are" if len(missing) > 1 else "model {} is"
        raise ModelMissing(
            f"{plural.format(' and '.join(missing))} not on this machine",
            f"Run: sage models pull {' '.join(missing)}",
            param="model",
        )
    pull_models(store, missing)


def pull_models(store: ModelStore, names: Sequence[str]) -> None:
    """Pull each model, with a bar on a terminal and a line a quarter elsewhere, on standard error."""
    for name in names:
        with _progress_of(name) as on_progress:
            brought = store.pull(name, on_progress)
        if not brought:
            print(f"{name}: here already, and whole", file=sys.stderr)


def _is_here(store: ModelStore, name: str) -> bool:
    try:
        store.path(name)
    except ModelMissing:
        return False
    return True


def _agrees(missing: Sequence[str]) -> bool:
    size = megabytes(sum(entry_of(name).download_bytes() for name in missing))
    print(f"Missing: {', '.join(missing)} ({size} to download). Pull now? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().lower() in ("\n", "y\n", "yes\n")  # the end of the input is no consent


@contextmanager
def _progress_of(name: str) -> Iterator[OnProgress]:
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, visible=False)
        yield lambda now: progress.update(task, completed=now.done_bytes, total=now.total_bytes, visible=True)


class Lines:
    """Prints a line whenever another quarter has come."""

    def __init__(self) -> None:
        self._quarters = -1

    def __call__(self, now: PullProgress) -> None:
        quarters = 4 * now.done_bytes // now.total_bytes
        if quarters > self._quarters:
            self._quarters = quarters
            print(f"{now.model}: {25 * quarters} % of {megabytes(now.total_bytes)}", file=sys.stderr, flush=True)
