"""Every package that is imported is this tree's: `sage` and `cluster` are names that others use too."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from sage.base.packages import check_packages
from tests.house.sources import PACKAGES, ROOT


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_imported_is_this_trees(name: str) -> None:
    module = importlib.import_module(name)
    assert [Path(place).resolve() for place in module.__path__] == [(ROOT / name).resolve()]


def test_the_tree_as_it_is_passes() -> None:
    check_packages()


@pytest.mark.parametrize("as_module", [True, False])
def test_a_foreign_package_in_front_is_named_before_a_command_runs(tmp_path: Path, as_module: bool) -> None:
    if as_module:
        (tmp_path / "cluster.py").write_text("")
    else:
        (tmp_path / "cluster").mkdir()
        (tmp_path / "cluster" / "__init__.py").write_text("")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sage.cli; sys.exit(sage.cli.main(['version']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "SAGE-2304" in done.stderr
    assert "cluster is" in done.stderr
    assert "virtual environment" in done.stderr
