"""A request that a server behind HTTP has not begun with gives its place to an urgent one, by a closed stream."""

from collections.abc import Iterator

import pytest

from cluster.serving.engines.launch import launch
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.manager import PlaneClient, start_control_plane
from cluster.serving.plane import Plane
from sage.base.inference import Finished, Token, Usage
from tests.unit.engines.scripted_server import HANG, ScriptedServer, events, scripted_server
from tests.unit.engines.test_openai import CHAT, GOOD, MODELS, WAIT_MS
from tests.unit.serving.arrange import BATCH, INTERACTIVE, chat
from tests.unit.serving.test_manager import ask

pytestmark = pytest.mark.cluster
NOTHING_YET = events(cut=True) + HANG


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        script.answers["/v1/models"] = [MODELS]
        script.answers[CHAT] = [NOTHING_YET, GOOD]
        yield script


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[PlaneClient]:
    client = start_control_plane(Plane(policy="priority"))
    client.attach(launch(spec_from_text(f"openai:{server.url},model=m,max_running=1,gives_back=true")))
    yield client
    assert client.close() == []


def test_it_is_asked_again_and_answered_once(server: ScriptedServer, client: PlaneClient) -> None:
    batch = ask(client, chat("batch", BATCH, model="m"))
    assert server.was_asked.wait(WAIT_MS / 1000)
    urgent = ask(client, chat("urgent", INTERACTIVE, model="m"))
    assert urgent.outcomes() == {"urgent": "finished"}
    assert server.was_left.wait(WAIT_MS / 1000), "the server was not told"
    assert batch.outcomes() == {"batch": "finished"}
    tokens = [reply for reply in batch.replies if isinstance(reply, Token)]
    lasts = [reply for reply in batch.replies if not isinstance(reply, Token)]
    assert "".join(token.text for token in tokens) == "ab"
    assert [last.usage for last in lasts if isinstance(last, Finished)] == [Usage(7, 2)]
    assert len(lasts) == 1
    assert (client.view().num_taken_back, client.engines()[0].completion_tokens) == (1, 4)
    assert sum(b"POST" in heard for heard in server.heard) == 3
