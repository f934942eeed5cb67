"""The administration of a gateway that runs: who may, what it shows, and a change of policy under load."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cluster.commands.engines import engines
from gateway.key_file import KeyFile
from gateway.keys import Scope
from gateway.server import listen, served_beside
from sage.cli import run_command
from tests.http.command import run_serve, serve

pytestmark = pytest.mark.cluster

ENGINE = ("--engine", "simulated:h100,model=sim")
SETTINGS = """
[gateway]
keys_file = "keys/keys.json"

[[tenant]]
name = "acme"
tokens_per_minute = 100000
budget_tokens = 50000
budget_period = "day"
weight = 2.0
"""


class Gateway:
    """A gateway with its administration, and keys for both."""

    def __init__(self, url: str, admin_url: str, folder: Path, pid: int) -> None:
        self.url = url
        self.pid = pid
        self.admin_url = f"{admin_url}/admin/v1"
        file = KeyFile(folder / "keys" / "keys.json")
        _, self.models_key = file.add("acme", (Scope.MODELS,), 1.0)
        _, self.admin_key = file.add("ops", (Scope.ADMIN,), 1.0)

    def admin(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.admin_key}"}
        return httpx.request(method, f"{self.admin_url}/{path}", json=body, headers=headers, timeout=30.0)

    def ask(self, number: int) -> httpx.Response:
        body = {"model": "sim", "messages": [{"role": "user", "content": f"Hello {number}"}], "max_tokens": 8}
        headers = {"authorization": f"Bearer {self.models_key}"}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60.0)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("admin")
    (folder / "sage.toml").write_text(SETTINGS, encoding="utf-8")
    KeyFile(folder / "keys" / "keys.json").add("ops", (Scope.ADMIN,), 1.0)
    with serve(*ENGINE, "--admin-port", "0", directory=folder) as running:
        assert running.process.stdout is not None
        line = running.process.stdout.readline().strip()
        assert line.startswith("Administration at "), line
        yield Gateway(running.url, line.rpartition(" at ")[2], folder, running.process.pid)


def test_only_a_key_of_the_scope_admin_may(gateway: Gateway) -> None:
    assert httpx.get(f"{gateway.admin_url}/policies").status_code == 401
    assert gateway.admin("GET", "policies", key=gateway.models_key).status_code == 403
    assert gateway.admin("GET", "policies").status_code == 200
    assert httpx.get(f"{gateway.url}/admin/v1/policies").status_code in (401, 404), "not on the callers' port"


def test_it_shows_engines_and_tenants(gateway: Gateway) -> None:
    gateway.ask(0).raise_for_status()
    [engine] = gateway.admin("GET", "engines").json()["engines"]
    assert (engine["engine_id"], engine["state"]) == ("sim", "ready")
    [acme] = gateway.admin("GET", "tenants").json()["tenants"]
    assert (acme["name"], acme["weight"], acme["tokens_per_minute"]) == ("acme", 2.0, 100_000)
    assert 0.0 < acme["tokens_left"] <= 100_000.0
    assert (acme["budget_tokens"], acme["budget_ends_unix_s"] % 86_400) == (50_000, 0.0)
    assert 0 < acme["budget_left"] < 50_000


def test_a_gateway_without_a_cluster_has_no_jobs_and_nodes_and_says_so(gateway: Gateway) -> None:
    for what in ("jobs", "nodes"):
        refused = gateway.admin("GET", what)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_cluster")
        assert "--cluster" in refused.json()["error"]["message"]


def test_its_engines_are_listed_by_the_command(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = gateway.admin_url.removesuffix("/admin/v1")
    monkeypatch.setenv("ADMIN_KEY", gateway.admin_key)
    listed = ["list", "--gateway", url, "--key-env", "ADMIN_KEY"]
    assert run_command(engines, "sage engines", [*listed, "--json"]) == 0
    [engine] = json.loads(capsys.readouterr().out)["engines"]
    assert (engine["engine_id"], engine["state"], engine["simulated"]) == ("sim", "ready", True)
    assert run_command(engines, "sage engines", listed) == 0
    assert "sim" in capsys.readouterr().out
    monkeypatch.setenv("ADMIN_KEY", gateway.models_key)
    assert run_command(engines, "sage engines", listed) == 1
    assert "scope admin" in capsys.readouterr().err
    assert run_command(engines, "sage engines", ["list", "--gateway", url]) == 1
    assert "--key-env" in capsys.readouterr().err
    assert run_command(engines, "sage engines", ["list", "--gateway", "http://127.0.0.1:9", *listed[3:]]) == 1
    assert "http://127.0.0.1:9" in capsys.readouterr().err
    assert run_command(engines, "sage engines", ["list", "--gateway", gateway.url, *listed[3:]]) == 1
    assert "--admin-port" in capsys.readouterr().err, "not on the callers' port"


def test_the_log_of_an_engine_is_read_on_from_a_mark(gateway: Gateway) -> None:
    newest = gateway.admin("GET", "engines/sim/log").json()
    assert newest["engine_id"] == "sim"
    mark = newest["mark"]
    again = gateway.admin("GET", f"engines/sim/log?start={mark['start']}&at_byte={mark['at_byte']}").json()
    assert (again["data"], again["mark"]) == ("", mark)
    for query in ("start=1", "start=one&at_byte=2", "after=2"):
        refused = gateway.admin("GET", f"engines/sim/log?{query}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_mark")
    missing = gateway.admin("GET", "engines/other/log")
    assert (missing.status_code, "no process of an engine 'other'" in missing.json()["error"]["message"]) == (400, True)
    assert gateway.admin("GET", "engines/sim/log", key=gateway.models_key).status_code == 403


def test_what_an_engine_prints_is_shown_by_the_command(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = gateway.admin_url.removesuffix("/admin/v1")
    monkeypatch.setenv("ADMIN_KEY", gateway.admin_key)
    shown = ["logs", "sim", "--gateway", url, "--key-env", "ADMIN_KEY"]
    children = psutil.Process(gateway.pid).children(recursive=True)
    (host,) = [each for each in children if "cluster.serving.engines.host" in each.cmdline()]
    with open(f"/proc/{host.pid}/fd/2", "ab", buffering=0) as log:  # as what its libraries print goes there
        log.write("one\nzwölf\n".encode())
    assert run_command(engines, "sage engines", shown) == 0
    assert capsys.readouterr().out.endswith("one\nzwölf\n")
    assert run_command(engines, "sage engines", [*shown, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"][-2:] == ["one", "zwölf"]
    assert run_command(engines, "sage engines", ["logs", "other", *shown[2:]]) == 1
    assert "no process of an engine 'other' runs now" in capsys.readouterr().err
    assert run_command(engines, "sage engines", [*shown, "--name", "mine"]) == 2
    assert run_command(engines, "sage engines", ["logs", "sim", "--key-env", "ADMIN_KEY"]) == 2
    assert "--gateway" in capsys.readouterr().err


def test_policy_and_route_change_under_load_without_the_loss_of_a_request(gateway: Gateway) -> None:
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda first=first: answers.extend(gateway.ask(first + n) for n in range(5)))
        for first in range(0, 40, 5)
    ]
    for thread in threads:
        thread.start()
    for policy, route in (("fifo", "round_robin"), ("edf", "prefix"), ("dlpm", "session"), ("hybrid", "auto")):
        changed = gateway.admin("PUT", "policies", {"policy": policy, "route": route})
        assert (changed.json()["policy"], changed.json()["route"]) == (policy, route)
    for thread in threads:
        thread.join(60.0)
    assert [answer.status_code for answer in answers] == [200] * 40
    last = gateway.ask(99)
    assert (last.headers["x-sage-policy"], last.headers["x-sage-route"]) == ("hybrid", "auto")


def test_a_name_that_there_is_not_changes_nothing(gateway: Gateway) -> None:
    before = gateway.admin("GET", "policies").json()
    refused = gateway.admin("PUT", "policies", {"policy": "fifo", "route": "nearest"})
    assert refused.status_code == 400
    assert "nearest" in refused.json()["error"]["message"]
    assert gateway.admin("PUT", "policies", {"polcy": "fifo"}).status_code == 400
    assert gateway.admin("PUT", "policies", {"policy": "x" * 100_000}).status_code == 413
    assert gateway.admin("GET", "policies").json() == before


def test_without_a_key_for_it_there_is_no_administration(tmp_path: Path) -> None:
    (tmp_path / "sage.toml").write_text(SETTINGS, encoding="utf-8")
    refused = run_serve((*ENGINE, "--port", "0", "--admin-port", "0"), tmp_path)
    assert refused.returncode == 1
    assert "scope admin" in refused.stderr


def test_a_port_of_the_administration_that_is_taken_is_named_before_engines_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / "sage.toml").write_text(SETTINGS, encoding="utf-8")
    KeyFile(tmp_path / "keys" / "keys.json").add("ops", (Scope.ADMIN,), 1.0)
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        port = str(bound.getsockname()[1])
        refused = run_serve((*ENGINE, "--port", "0", "--admin-port", port), tmp_path)
    same = run_serve((*ENGINE, "--port", port, "--admin-port", port), tmp_path)
    for done in (refused, same):
        assert done.returncode == 1
        assert done.stdout == "", "it never said that it serves"
        assert port in done.stderr
        assert "--admin-port" in done.stderr


async def test_a_server_beside_that_cannot_listen_says_why() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with listen("127.0.0.1", port) as second:  # two may bind, as long as neither listens
            bound.listen()
            with pytest.raises(OSError, match="in use"):
                async with served_beside(_unused, second):
                    raise AssertionError("it does not listen")


async def _unused(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("nobody calls it")
