"""What is said of an OpenAI-compatible server that refuses or says nothing: to whoever asked, and in the log."""

import asyncio
import json
from collections.abc import Iterator

import aiohttp
import pytest
import structlog

from cluster.serving.engines.openai_upstream import Upstream
from sage.base.errors import RequestFailed, SageError
from sage.base.ids import EngineId
from sage.base.log import set_up_log
from sage.base.settings import LogSettings
from tests.unit.engines.scripted_server import HANG, ScriptedServer, http, scripted_server


@pytest.fixture(autouse=True)
def all_logged() -> Iterator[None]:
    set_up_log(LogSettings(level="info", format="json"))
    yield
    structlog.reset_defaults()


def asked(answer: bytes, patience: aiohttp.ClientTimeout | None = None, *, max_silence_s: float = 10.0) -> SageError:
    """Return the error of a question that a server gave this answer to."""

    async def ask(server: ScriptedServer) -> SageError:
        upstream = Upstream(f"{server.url}/v1", max_silence_s=max_silence_s)
        upstream.serves_as(EngineId("e"))
        try:
            with pytest.raises(SageError) as caught:
                async with upstream._answer("GET", "/models", None, patience) as head:
                    await head.content.read()
            return caught.value
        finally:
            await upstream.close()

    with scripted_server() as server:
        server.answers["/v1/models"] = [answer]
        return asyncio.run(ask(server))


@pytest.mark.parametrize(
    ("status", "level"),
    [(400, "info"), (404, "info"), (422, "info"), (429, "info"), (401, "warning"), (500, "warning"), (302, "warning")],
)
def test_what_a_server_has_against_a_request_is_no_failure_of_it(
    status: int, level: str, capfd: pytest.CaptureFixture[str]
) -> None:
    asked(http(b"{}", status=status))
    line = json.loads(capfd.readouterr().err)
    event = "a server refused a request" if level == "info" else "a server failed"
    assert (line["event"], line["level"]) == (event, level)
    assert str(status) in str(line.get("status", line.get("what")))


def test_a_silence_is_said_to_be_as_long_as_it_was() -> None:
    errors = asked(HANG, aiohttp.ClientTimeout(total=0.05)), asked(HANG, max_silence_s=0.04)
    assert all(isinstance(error, RequestFailed) for error in errors)
    assert [error.what for error in errors] == ["engine 'e' was silent for 0.05 s", "engine 'e' was silent for 0.04 s"]
