"""Flows in a Python file of the user's: import it and pick one. Knows nothing of how flows run."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType

from sage.base.errors import FlowInvalid, SageError
from sage.flow.flow import Flow

PREFIX = "sage_run_"


def split_target(target: str) -> tuple[Path, str | None]:
    """Cut `FILE[:FLOW]`; a file whose name holds a colon is still found.

    >>> split_target("flows/words.py:counts")[1]
    'counts'
    """
    file, colon, name = target.rpartition(":")
    if not colon or Path(target).exists():
        return Path(target), None
    return Path(file), name


def flows_in(file: Path) -> dict[str, Flow]:
    """Import `file` and return the flows at its top level by variable, in order, each once.

    The module is not named `__main__`, so that what is below `if __name__ == "__main__"` does not run. Its folder comes
    first on sys.path, as with `python FILE`. Raises FlowInvalid, with the user's frames, where the import fails.
    """
    sys.path.insert(0, str(file.parent.resolve()))
    return flows_of(import_file(file, PREFIX + plain_name(file)))


def flows_of(module: ModuleType) -> dict[str, Flow]:
    """Return the flows at the top level of `module` by variable, in order, each once."""
    flows = [(name, value) for name, value in vars(module).items() if isinstance(value, Flow)]
    return {name: flow for i, (name, flow) in enumerate(flows) if all(flow is not other for _, other in flows[:i])}


def pick(flows: dict[str, Flow], wanted: str | None) -> Flow | None:
    """Return the flow of this variable or name; without one, the only flow; None where that leaves a choice."""
    if wanted is None:
        return next(iter(flows.values())) if len(flows) == 1 else None
    by_name = [flow for flow in flows.values() if flow.name == wanted]
    return flows.get(wanted) or (by_name[0] if len(by_name) == 1 else None)


def plain_name(file: Path) -> str:
    """Return the name of `file` as a module may have it."""
    return "".join(c if c.isalnum() else "_" for c in file.stem)


def import_file(file: Path, name: str) -> ModuleType:
    """Import `file` under `name`; raises FlowInvalid, with the user's frames, where that fails."""
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise FlowInvalid(f"{file} is no Python file", "Give a file whose name ends in .py.")
    module = module_from_spec(spec)
    sys.modules[name] = module
    with users_frames(file):
        spec.loader.exec_module(module)
    return module


@contextmanager
def users_frames(file: Path) -> Iterator[None]:
    """Turn what importing `file` raises into FlowInvalid, which tells it from the user's own first frame on."""
    try:
        yield
    except SageError:
        raise
    except Exception as error:
        raise FlowInvalid(
            f"{file} cannot be imported\n{_users_traceback(error, file)}", "Mend it; `python FILE` shows the same."
        ) from error


def _users_traceback(error: Exception, file: Path) -> str:
    frames: TracebackType | None = error.__traceback__
    while frames is not None and Path(frames.tb_frame.f_code.co_filename) != file:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
