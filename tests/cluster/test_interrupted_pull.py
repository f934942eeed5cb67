"""Ctrl-C during `sage models pull`: it ends at once and leaves neither files nor processes."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

DEADLINE_S = 30.0


@pytest.mark.cluster
@pytest.mark.parametrize("to_group", [True, False], ids=["as a terminal sends it", "to the command alone"])
def test_an_interrupted_pull_ends_and_leaves_nothing(tmp_path: Path, to_group: bool) -> None:
    (tmp_path / "temporary").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent_registry:
        silent_registry.settimeout(DEADLINE_S)
        environ = os.environ | {
            "SAGE_MODELS_CACHE_DIR": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path / "temporary"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://127.0.0.1:{silent_registry.getsockname()[1]}/simple",
        }
        environ = {name: value for name, value in environ.items() if name not in ("PIP_FIND_LINKS", "PIP_NO_INDEX")}
        script = "import sys, sage.cli; sys.exit(sage.cli.main(['models', 'pull', 'minilm']))"
        pull = subprocess.Popen(
            [sys.executable, "-c", script], env=environ, stderr=subprocess.PIPE, start_new_session=True
        )
        with pull, silent_registry.accept()[0]:  # pip has asked and waits for an answer
            pips = psutil.Process(pull.pid).children(recursive=True)
            assert pips
            (os.killpg if to_group else os.kill)(pull.pid, signal.SIGINT)
            pull.communicate(timeout=DEADLINE_S)
    assert pull.returncode in (1, 130)
    assert psutil.wait_procs(pips, timeout=DEADLINE_S)[1] == []
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() or ".pulling" in path.name] == []
    assert list((tmp_path / "temporary").iterdir()) == []
