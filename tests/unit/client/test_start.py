"""Starting a cluster waits for nothing that only those need who speak to one, and refuses what could not work."""

import subprocess
import sys

import pytest

from cluster.client.start import ClusterWish, start_cluster
from sage.base.errors import ConfigInvalid
from sage.base.settings import Settings


def test_to_start_a_cluster_no_client_is_loaded() -> None:
    listing = "import cluster.client.start, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, timeout=60)
    assert {"cluster.client.cluster", "numpy", "sage.flow.flow"}.isdisjoint(loaded.stdout.split())


@pytest.mark.parametrize(
    ("address", "do"),
    [
        ("tcp://0.0.0.0:7077", "--address tcp://HOST:7077"),
        ("tcp://[::]:7077", "--address tcp://HOST:7077"),
        ("tcp://*:*", "--address tcp://HOST:*"),
        ("tcp://0:7077", "--address tcp://HOST:7077"),
        ("ipc:///tmp/cluster.sock", "tcp://HOST:PORT"),
        ("7077", "tcp://HOST:PORT"),
    ],
)
def test_an_address_by_which_no_machine_reaches_another_starts_nothing(address: str, do: str) -> None:
    """Nodes would tell each other to come to 0.0.0.0, which each takes for itself."""
    with pytest.raises(ConfigInvalid) as refused:
        start_cluster(ClusterWish("open", 0, address, (), False, None, None), Settings())
    assert do in refused.value.do
