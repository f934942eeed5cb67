"""What all tests share: where the data is, and that nothing is timed. Knows no part of the system."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.vllm.environment import why_no_vllm

settings.register_profile("any machine", deadline=None)  # no test asserts how long something takes
settings.load_profile("any machine")

ROOT = Path(__file__).parent.parent
os.environ.setdefault("SAGE_JOBS_LETTERS_DIR", "")  # tests leave no dead letters in the user's state folder
BESIDE = ROOT.parent / "shared" / "data"


def find_data() -> Path | None:
    """Return the folder of traces and texts: `$SAGE_DATA`, else `../shared/data`; None where it does not exist."""
    place = Path(os.environ.get("SAGE_DATA") or BESIDE)
    return place if place.is_dir() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and say so, what needs what is not there."""
    if find_data() is None:
        _leave_out("data", f"data is found neither in $SAGE_DATA nor in {BESIDE}", config, items)
    if (why := why_no_vllm()) is not None:
        _leave_out("vllm", why, config, items)


def _leave_out(mark: str, why: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker(mark)]
    if not needing:
        return
    items[:] = [item for item in items if item not in needing]
    config.hook.pytest_deselected(items=needing)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"left out: {len(needing)} tests marked {mark}: {why}")


@pytest.fixture
def data_dir() -> Path:
    """The folder of traces and texts; only for tests marked `data`."""
    found = find_data()
    assert found is not None, "mark the test `data`"
    return found


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder with room for sockets: those in `tmp_path` may have longer names than sockets can have."""
    with tempfile.TemporaryDirectory(prefix="sage-", dir="/tmp") as folder:
        yield Path(folder)
