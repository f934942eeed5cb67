"""Log events: one line each, nothing below the level, no values of local variables."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Literal

import pytest
import structlog

from sage.base.log import get_log, set_up_log
from sage.base.settings import LogSettings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_an_event_is_one_line_of_json_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log(LogSettings(level="info", format="json"))
    get_log(job_id="job-1").bind(node="n").info("task started", records=3)
    line = json.loads(capsys.readouterr().err)
    assert {k: line[k] for k in ("event", "level", "job_id", "node", "records")} == {
        "event": "task started",
        "level": "info",
        "job_id": "job-1",
        "node": "n",
        "records": 3,
    }
    assert line["timestamp"].endswith("Z")


def test_without_being_set_up_warnings_are_shown_and_less_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGE_LOG_LEVEL", raising=False)
    log = get_log()
    log.info("nobody sees this")
    log.warning("engine lost", engine_id="chat-1")
    shown = capsys.readouterr().err
    assert "nobody" not in shown
    assert "engine lost" in shown
    assert "chat-1" in shown


def test_events_go_to_what_standard_error_is_by_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as redirected, StringIO() as elsewhere:
        redirected.setattr("sys.stderr", elsewhere)
        log = get_log()
        log.warning("engine lost")
        assert "engine lost" in elsewhere.getvalue()
    log.warning("engine found")
    get_log().warning("engine ready")
    shown = capsys.readouterr().err
    assert "engine found" in shown
    assert "engine ready" in shown


def test_the_environment_sets_the_level(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGE_LOG_LEVEL", "debug")
    get_log().debug("seen")
    assert "seen" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_logged_exception_shows_no_local_variables(
    form: Literal["console", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log(LogSettings(format=form))
    prompt = "the secret " + "prompt"
    try:
        raise ValueError(len(prompt))
    except ValueError:
        get_log(request="r1").exception("request failed")
    shown = capsys.readouterr().err
    assert "request failed" in shown
    assert "ValueError" in shown
    assert "the secret prompt" not in shown
