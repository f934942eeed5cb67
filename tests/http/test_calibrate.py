"""`sage-benchmark calibrate` against our own gateway: a simulated engine's costs are found again."""

import json
from pathlib import Path

import httpx
import pytest

from benchmarks.cli import app
from cluster.serving.engines.cost import CPU2
from sage.cli import run_command
from tests.http.command import serve

pytestmark = pytest.mark.cluster


def test_the_costs_of_a_simulated_engine_are_found_and_both_figures_stand_side_by_side(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    with serve("--engine", "simulated:cpu2,model=sim", directory=tmp_path) as gateway:
        asked = ["calibrate", "generated", "--url", gateway.url, "--model", "sim", "--json", str(target)]
        asked += ["--speed", "60", "--lengths", "0.02", "--limit", "16", "--max-sequences", "4", "--max-prompt", "256"]
        assert run_command(app, "sage-benchmark", [*asked, "--rounds", "1"]) == 0
        shown = httpx.get(f"{gateway.url}/metrics").text
    assert 'sage_engine_forecast_error{engine="sim",quantile="0.9"}' in shown
    seen, fitted = json.loads(target.read_text())["results"]
    assert (seen["workload"], seen["num_answered"], seen["checked"]) == ("replay", 16, True)
    assert (fitted["engine"], fitted["simulated"], fitted["checked"], fitted["n"]) == ("simulated", True, True, 16)
    assert fitted["seen_tokens_per_s"] == seen["tokens_per_s"] > 0 < fitted["simulated_tokens_per_s"]
    assert fitted["prefill_token_ms"] >= CPU2.prefill_token_ms * 0.5
    assert list(fitted["decode_ms"]) == ["1", "2", "4"]
    assert fitted["decode_ms"]["1"] >= CPU2.decode_ms[0][1] * 0.9  # it never is faster than its costs say
    assert fitted["max_running"] == 4
