"""What users install: a wheel with the five packages and nothing else."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.house.sources import PACKAGES, ROOT, sources


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel from a copy, so that the tree stays clean, and return the names in it."""
    copy = tmp_path_factory.mktemp("copy")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.cfg"), *ROOT.glob("*.toml"), *ROOT.glob("*.md"), ROOT / "LICENSE"):
        shutil.copy(path, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(copy / "out"), str(copy)], check=True, capture_output=True, timeout=110)
    (wheel,) = (copy / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as parcel:
        return parcel.namelist()


def test_the_wheel_holds_our_packages_and_no_tests(wheel_names: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops - {top for top in tops if top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_module_and_every_type_marker(wheel_names: list[str]) -> None:
    assert {source.name for source in sources(*PACKAGES)} <= set(wheel_names)
    assert {f"{name}/py.typed" for name in PACKAGES} <= set(wheel_names)


def test_the_wheel_changes_no_path_at_start_up(wheel_names: list[str]) -> None:
    assert not [name for name in wheel_names if name.endswith((".pth", "sitecustomize.py", "usercustomize.py"))]


def test_the_wheel_carries_its_licence(wheel_names: list[str]) -> None:
    assert [name for name in wheel_names if name.endswith("LICENSE") and ".dist-info/" in name]
