"""`sage-gateway keys` and a gateway that runs: who may ask, as which tenant, and what its quota is. Over real HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.http.command import Command, run_serve, serve

pytestmark = pytest.mark.cluster

ENGINE = ("--engine", "simulated:h100,model=sim")
BODY = {"model": "sim", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
SETTINGS = """
[gateway]
keys_file = "keys/keys.json"

[[tenant]]
name = "noisy"
requests_per_minute = 3

[[tenant]]
name = "loud"
requests_per_minute = 3

[[tenant]]
name = "lists"
requests_per_minute = 2
"""
_RUN = "import sys; from gateway.cli import main; sys.exit(main())"


def keys(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run `sage-gateway keys ARGUMENTS`."""
    environ = {"HOME": str(folder), "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "keys", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def new_key(folder: Path, tenant: str, *scopes: str) -> dict[str, str]:
    options = [option for scope in scopes for option in ("--scope", scope)]
    made: dict[str, str] = json.loads(keys(folder, "add", tenant, *options, "--json"))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("keyed"))


def prepared(folder: Path) -> Path:
    (folder / "sage.toml").write_text(SETTINGS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Command]:
    with serve(*ENGINE, directory=folder) as running:
        yield running


def ask(gateway: Command, key: str | None, **headers: str) -> httpx.Response:
    given = {**({"authorization": f"Bearer {key}"} if key else {}), **headers}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY, headers=given, timeout=30.0)


def test_from_the_first_key_on_every_call_needs_one_and_a_revoked_one_is_refused_at_once(
    tmp_path: Path,
) -> None:
    folder = prepared(tmp_path)
    with serve(*ENGINE, directory=folder) as gateway:
        assert ask(gateway, None).status_code == 200
        key = new_key(folder, "acme")
        assert ask(gateway, None).status_code == 401
        assert ask(gateway, key["key"]).status_code == 200
        keys(folder, "revoke", key["id"])
        refused = ask(gateway, key["key"])
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{gateway.url}/readyz").status_code == 200
        assert httpx.get(f"{gateway.url}/v1/models").status_code == 401
    listed = keys(folder, "list")
    assert key["id"] in listed
    assert key["key"] not in listed
    assert "SAGE-1401" in keys(folder, "revoke", "unknown", status=1)


def test_a_noisy_tenant_is_told_when_to_come_back_while_a_quiet_one_is_served(gateway: Command, folder: Path) -> None:
    noisy, quiet = new_key(folder, "noisy")["key"], new_key(folder, "quiet")["key"]
    answers = [(ask(gateway, noisy), ask(gateway, quiet)) for _ in range(6)]
    assert [first.status_code for first, _ in answers] == [200] * 3 + [429] * 3
    assert {second.status_code for _, second in answers} == {200}
    refused = answers[-1][0]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert int(refused.headers["retry-after-ms"]) <= 20_000
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


def test_a_long_list_of_texts_is_one_request_to_the_quota(gateway: Command, folder: Path) -> None:
    key = {"authorization": f"Bearer {new_key(folder, 'lists')['key']}"}

    def embed(name: str) -> int:
        body = {"model": "sim", "input": [f"{name} {number}" for number in range(200)]}
        return httpx.post(f"{gateway.url}/v1/embeddings", json=body, headers=key, timeout=30.0).status_code

    assert [embed("first"), embed("second"), embed("third")] == [200, 200, 429]


def test_an_admin_may_be_any_tenant_and_nobody_else_may(gateway: Command, folder: Path) -> None:
    admin, plain = new_key(folder, "ops", "models", "admin")["key"], new_key(folder, "plain")["key"]
    assert ask(gateway, plain, **{"x-sage-tenant": "other"}).status_code == 403
    named = [ask(gateway, admin, **{"x-sage-tenant": "loud"}).status_code for _ in range(4)]
    assert named[-1] == 429, "it is the tenant's quota"
    assert ask(gateway, admin).status_code == 200


def test_no_other_machine_is_listened_to_without_a_good_key(tmp_path: Path) -> None:
    refused = run_serve(("--host", "0.0.0.0", "--port", "0", *ENGINE), tmp_path)
    assert refused.returncode == 1
    assert "keys add" in refused.stderr
