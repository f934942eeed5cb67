"""What a log line may and may not hold."""

from collections.abc import Iterator
from typing import Literal

import pytest

from sage.base.log import get_log, set_up_log
from sage.base.settings import LogSettings


@pytest.fixture
def _fresh_log() -> Iterator[None]:
    import structlog

    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("format", ["console", "json"])
@pytest.mark.usefixtures("_fresh_log")
def test_a_logged_exception_shows_no_local_variables(
    format: Literal["console", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log(LogSettings(format=format))
    prompt = "the secret " + "prompt"
    try:
        raise ValueError(len(prompt))
    except ValueError:
        get_log(request="r1").exception("request failed")
    shown = capsys.readouterr().err
    assert "request failed" in shown
    assert "ValueError" in shown
    assert "the secret prompt" not in shown
