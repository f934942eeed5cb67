"""`sage-benchmark wire`: two processes, every record accounted for."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import app
from benchmarks.wire_records import len_record_bytes, records_of
from benchmarks.wire_wanted import Way, WireWorkload
from sage.cli import run_command


@pytest.mark.parametrize("workload", WireWorkload)
def test_a_record_is_of_about_110_bytes(workload: WireWorkload) -> None:
    assert 90 <= len_record_bytes(records_of(workload, 1000)) <= 120


@pytest.mark.cluster
@pytest.mark.parametrize("way", Way)
def test_records_go_to_another_process_and_are_checked(
    way: Way, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "result.json"
    asked = ["wire", "--workload", "struct", "--way", way, "--records", "5000", "--batch", "500", "--rounds", "2"]
    assert run_command(app, "sage-benchmark", [*asked, "--json", str(target)]) == 0
    document = json.loads(target.read_bytes())
    assert document["command"] == f"sage-benchmark {' '.join(asked)}"
    (result,) = document["results"]
    assert (result["engine"], result["workload"], result["n"]) == (way, "struct", 5000)
    assert result["checked"] is True
    assert result["simulated"] is False
    assert result["records_per_s"] > 0
    assert result["round_trip_p50_us"] <= result["round_trip_p99_us"]
    assert capfd.readouterr().err == ""
