"""Fill a virtual environment with the packages of a lock, by uv where there is one, else by pip. Knows no engine.

Both run in processes of their own and write to standard error, bars on a terminal. What was fetched stays in their
caches, so that an install which was interrupted goes on from there.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from sage.base.errors import ExtraMissing

INSTALL_TIMEOUT_S = 3600.0
_CHECK_TIMEOUT_S = 300.0

Say = Callable[[str], object]
"""Told, a line each, what is done now."""


def find_uv() -> tuple[str, ...] | None:
    """Return the command of uv, None where there is none."""
    if find_spec("uv") is not None:
        return (sys.executable, "-P", "-m", "uv")
    found = which("uv")
    return (found,) if found is not None else None


def fill(folder: Path, lock: Path, index: str, say: Say, *, uv: tuple[str, ...] | None) -> None:
    """Make `folder` an environment of this Python with exactly what `lock` pins; what is there already is kept.

    `index` is asked too where the user's own indexes do not have everything.

    Raises: ExtraMissing.
    """
    python = folder / "bin" / "python"
    if uv is not None:
        _run([*uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)])
        install = [*uv, "pip", "install", "--python", str(python), "--index-strategy", "unsafe-best-match"]
        install += ["--compile-bytecode", *uv_options(_pip_config())]  # each process of a server imports it all anew
    else:
        _run([sys.executable, "-P", "-m", "venv", "--without-pip", str(folder)])
        install = [sys.executable, "-P", "-m", "pip", "--python", str(python), "install", "--quiet"]
        install += ["--disable-pip-version-check", "--no-input"]
    install += ["--no-deps", "-r", str(lock)]
    say(f"installing by {'uv' if uv is not None else 'pip'}")
    try:
        _run(install)
    except ExtraMissing:
        if not index:
            raise
        say(f"not all of it is where you get packages from: asking {index} too")
        _run([*install, "--extra-index-url", index])


def check_import(python: Path, module: str) -> None:
    """Raise ExtraMissing unless `python` can import `module`."""
    _run([str(python), "-P", "-c", f"import {module}"], _CHECK_TIMEOUT_S)


def uv_options(pip_config: Iterable[str]) -> list[str]:
    """Return what makes uv look where pip does, from the lines of `pip config list`.

    >>> uv_options(["global.index-url='https://a'", "install.find-links='/w'", ":env:.extra-index-url='b\\\\nc'"])
    ['--index-url', 'https://a', '--find-links', '/w', '--extra-index-url', 'b', '--extra-index-url', 'c']
    """
    options: list[str] = []
    for line in pip_config:
        name, equals, value = line.partition("=")
        key = name.rpartition(".")[2]
        if equals and key in ("index-url", "extra-index-url", "find-links"):
            for where in str(ast.literal_eval(value)).split():
                options += [f"--{key}", where]
    return options


def _pip_config() -> list[str]:
    command = [sys.executable, "-P", "-m", "pip", "config", "list", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60.0, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []  # there is no pip: uv knows its own ways


def _run(command: Sequence[str], timeout_s: float = INSTALL_TIMEOUT_S) -> None:
    """Run a command whose output goes to standard error; at Ctrl-C it ends too."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environ, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ExtraMissing(f"{' '.join(command[:4])} ... took more than {timeout_s:g} s", "Try again.") from error
    except OSError as error:
        raise ExtraMissing(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        what = f"{' '.join(command[:4])} ... ended with exit status {done.returncode}"
        raise ExtraMissing(what, "See above what it said; what was fetched is kept: run the same again.")
