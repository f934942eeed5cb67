"""Starting a cluster waits for nothing that only those need who speak to one."""

import subprocess
import sys


def test_to_start_a_cluster_no_client_is_loaded() -> None:
    listing = "import cluster.client.start, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, timeout=60)
    assert {"cluster.client.cluster", "numpy", "sage.flow.flow"}.isdisjoint(loaded.stdout.split())
