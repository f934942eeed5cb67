"""Files and databases keep what is promised of them, wherever the process, or a node, is killed."""

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.cluster.connected import NUM_LINES, NUM_ROWS, prepare, table
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
DEADLINE_S = 60.0


def check_output(folder: Path) -> None:
    numbers = range(NUM_ROWS)
    assert (folder / "out.csv").read_text() == "id,num\n" + "".join(f"{number},{2 * number}\n" for number in numbers)
    rows = pyarrow.parquet.read_table(folder / "out.parquet").to_pylist()
    assert rows == [{"id": number, "num": 2 * number} for number in numbers]
    assert gzip.decompress((folder / "out.txt.gz").read_bytes()).decode().split() == [str(number) for number in numbers]
    assert table(folder, "out") == [(number, 2 * number) for number in numbers]
    assert table(folder, "counts") == [(key, NUM_ROWS // 10) for key in range(10)]
    assert table(folder, "followed") == [(number, 1) for number in range(NUM_LINES)]


@pytest.mark.parametrize(("address", "num_deaths"), [("local", 2), ("local:2", 0)])
def test_connectors_lose_and_double_nothing(tmp_path: Path, address: str, num_deaths: int) -> None:
    """Embedded, the process dies and is started again; of two nodes, those that die are replaced."""
    prepare(tmp_path, (3_000, 10_000))
    command = [sys.executable, "-m", "tests.cluster.connected", str(tmp_path), address]
    for death in range(num_deaths + 1):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == (0 if death == num_deaths else -9), done.stderr
    assert done.stdout == f"{2 * NUM_ROWS}\n"
    assert not list(tmp_path.glob("kill-*"))
    check_output(tmp_path)
