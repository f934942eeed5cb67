"""Which files a flow's file brings along, and their hash."""

from pathlib import Path

import pytest

from cluster.jobs.project import Project, project_of, runs_as_script_only
from sage.base.errors import FlowInvalid


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def names(project: Project) -> list[str]:
    return [file.relative_to(project.root).as_posix() for file in project.files]


def test_a_file_alone_is_its_project(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": "import json, sage\nimport numpy as np", "other.py": ""})
    project = project_of(tmp_path / "flow.py")
    assert (names(project), project.root, project.module) == (["flow.py"], tmp_path, None)


def test_imported_files_of_the_folder_belong_to_it_however_they_are_imported(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "flow.py": "import a, b.c.d as x\nfrom e import f\ndef late():\n    import g\nfrom h import *",
            "a.py": "import i",
            "b/c/d.py": "",
            "b/__init__.py": "",
            "e/__init__.py": "",
            "e/f.py": "from .k import z\nfrom .. import a",
            "e/k.py": "",
            "g.py": "import flow, a",
            "h.py": "this is no Python",
            "i.py": "",
            "j.py": "never imported",
        },
    )
    wanted = ["a.py", "b/__init__.py", "b/c/d.py", "e/__init__.py", "e/f.py", "e/k.py", "g.py", "h.py", "i.py"]
    project = project_of(tmp_path / "flow.py")
    assert names(project) == ["flow.py", *wanted]
    assert {"b", "b.c.d", "e.f"} <= set(project.imported())


def test_a_file_in_a_package_is_imported_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, {"top/__init__.py": "", "top/in/__init__.py": "", "top/in/flow.py": "from ..x import y"})
    write(tmp_path, {"top/x.py": "", "top/unused.py": "", "x.py": "another"})
    project = project_of(tmp_path / "top" / "in" / "flow.py")
    assert (project.root, project.module) == (tmp_path, "top.in.flow")
    assert names(project) == ["top/in/flow.py", "top/__init__.py", "top/in/__init__.py", "top/x.py"]


def test_the_hash_is_that_of_the_files_wherever_they_are(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write(tmp_path / place, {"flow.py": "import a", "a.py": "1", "unused.py": place})
    here, there = (project_of(tmp_path / place / "flow.py") for place in ("here", "there"))
    assert here.sha256 == there.sha256


@pytest.mark.parametrize(
    "changed", [{"flow.py": "import a #"}, {"a.py": "2"}, {"flow.py": "import b", "b.py": "1"}, {"a/__init__.py": "1"}]
)
def test_the_hash_changes_with_whatever_may_run(tmp_path: Path, changed: dict[str, str]) -> None:
    write(tmp_path, {"flow.py": "import a", "a.py": "1"})
    before = project_of(tmp_path / "flow.py").sha256
    write(tmp_path, changed)
    assert project_of(tmp_path / "flow.py").sha256 != before


def test_a_link_out_of_the_folder_is_not_followed_for_imports(tmp_path: Path) -> None:
    write(tmp_path, {"in/flow.py": "import a", "out/a.py": ""})
    (tmp_path / "in" / "a.py").symlink_to(tmp_path / "out" / "a.py")
    assert names(project_of(tmp_path / "in" / "flow.py")) == ["flow.py"]


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.jobs.project.MAX_FILES", 3)
    write(tmp_path, {"flow.py": "import a, b, c", "a.py": "", "b.py": "", "c.py": ""})
    with pytest.raises(FlowInvalid, match="more than 3 files"):
        project_of(tmp_path / "flow.py")


@pytest.mark.parametrize("text", ["def", "\0", "é".encode("latin-1")])
def test_what_is_no_python_is_refused(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "flow.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FlowInvalid, match="no Python"):
        project_of(tmp_path / "flow.py")
    with pytest.raises(FlowInvalid, match="cannot be read"):
        project_of(tmp_path / "missing.py")


def test_what_runs_as_a_script_only_is_known_by_its_lines(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"flow.py": "a = 1\nif __name__ == '__main__':\n    b = 2\n    c = (\n        3)\nd = 4\nif a:\n    e = 5"},
    )
    assert [list(lines) for lines in runs_as_script_only(tmp_path / "flow.py")] == [[3, 4, 5]]
