"""`sage config show` and the doctor's printing."""

import json
from pathlib import Path

import pytest

from sage.base.settings import schema
from sage.cli import main


@pytest.fixture(autouse=True)
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sage.toml"
    path.write_text('[gateway]\nport = 9000\n[[engine]]\nname = "a"\nkind = "simulated"\nmodel = "m"\n')
    monkeypatch.chdir(tmp_path)
    return path


def test_every_setting_is_shown_with_its_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGE_PLANE_POLICY", "fifo")
    assert main(["config", "show", "--origin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(schema()) + 1
    assert "gateway.port = 9000  # sage.toml" in lines
    assert 'plane.policy = "fifo"  # SAGE_PLANE_POLICY' in lines
    assert "plane.max_waiting = 4096  # default" in lines
    assert lines[-1].startswith('engine[0] = {"name":"a"')
    assert lines[-1].endswith("# sage.toml")


def test_without_origin_none_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    assert "#" not in capsys.readouterr().out


def test_settings_as_json_hold_the_engines(capsys: pytest.CaptureFixture[str], toml: Path) -> None:
    assert main(["config", "show", "--json", "--origin", "--config", str(toml)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["engines"][0]["name"] == "a"
    assert shown["origins"]["gateway.port"] == str(toml)


def test_a_mistake_in_the_file_fails_and_names_the_nearest(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml.write_text("[gateway]\nprot = 1\n")
    assert main(["config", "show"]) == 1
    assert "Did you mean gateway.port?" in capsys.readouterr().err


def test_the_doctor_exits_1_where_models_are_missing_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAGE_MODELS_CACHE_DIR", str(tmp_path / "empty"))
    assert main(["doctor"]) == 1
    assert "sage models pull smollm2" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["facts"]["cache_dir"] == str(tmp_path / "empty")
    assert "sage models pull minilm" in [advice["do"] for advice in report["advice"]]
