"""A cluster in this process for each test, and a check that nothing of it stays behind."""

import threading
from collections.abc import Iterator

import psutil
import pytest

from cluster.local import LocalCluster
from sage.base.settings import Settings


@pytest.fixture
def local_cluster() -> Iterator[LocalCluster]:
    """A cluster with the default settings, whatever sage.toml or the environment say; closed at the end."""
    with LocalCluster(settings=Settings()) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """After each test: no thread, process or open descriptor more than before."""
    before = resources_now()
    yield
    after = resources_now()
    more = {name: after[name] - before[name] for name in before if after[name] > before[name]}
    assert more == {}, psutil.Process().children(recursive=True)


def resources_now() -> dict[str, int]:
    process = psutil.Process()
    return {
        "threads": threading.active_count(),
        "processes": len(process.children(recursive=True)),
        "descriptors": process.num_fds(),
    }
