"""`sage-benchmark replay` against our own gateway."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import app
from sage.cli import run_command
from tests.http.command import serve


def replayed(url: str, model: str, target: Path, *more: str) -> dict[str, object]:
    asked = ["replay", "generated", "--url", url, "--model", model, "--json", str(target), *more]
    assert run_command(app, "sage-benchmark", asked) == 0
    (result,) = json.loads(target.read_text())["results"]
    assert isinstance(result, dict)
    return result


@pytest.mark.cluster
def test_a_trace_is_replayed_against_a_gateway_with_its_lengths_and_what_is_too_long_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve("--engine", "simulated:h100,model=sim", directory=tmp_path) as gateway:
        url, target = gateway.url, tmp_path / "result.json"
        short = replayed(url, "sim", target, "--speed", "40", "--lengths", "0.1", "--limit", "60")
        assert run_command(app, "sage-benchmark", ["replay", "generated", "--url", url, "--model", "no"]) == 1
    assert "serves no model 'no'" in capsys.readouterr().err
    assert (short["n"], short["num_answered"], short["errors"], short["simulated"]) == (60, 60, {}, True)
    assert short["checked"]
    assert 0.97 < float(str(short["prompt_tokens_ratio"])) < 1.03
    assert short["answer_tokens_ratio"] == 1.0
    assert float(str(short["ttft_p50_ms"])) <= float(str(short["e2e_p50_ms"]))


@pytest.mark.engines
def test_a_trace_is_replayed_on_the_embedded_engine(tmp_path: Path) -> None:
    with serve("--engine", "openvino:smollm2", directory=tmp_path) as gateway:
        more = ("--speed", "20", "--lengths", "0.02", "--limit", "12")
        result = replayed(gateway.url, "smollm2", tmp_path / "result.json", *more)
    assert (result["n"], result["num_answered"], result["errors"], result["simulated"]) == (12, 12, {}, False)
    assert result["checked"]
    assert 0.5 < float(str(result["prompt_tokens_ratio"])) < 1.5
