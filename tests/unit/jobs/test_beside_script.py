"""Which modules travel along with a flow: those beside the user's script, or beside a file that a command was given."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sage
from cluster.jobs.flow_file import flows_in
from cluster.jobs.pickled_graph import graph_from_pickle, pickled_graph
from sage.flow.spec import FlatMap, Map

FLOW = """
import sage
from splitting import split
def loud(word):
    return word.upper()
flow = sage.Flow("words")
flow.from_collection(["to be", "or not"]).flat_map(split).map(loud).for_each(print)
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("way", "travels"), [("user", True), ("link", True), ("user/sub", True), ("elsewhere", False), ("user2", False)]
)
@pytest.mark.parametrize("is_link", [False, True])
def test_modules_travel_where_they_really_lie_beside_the_script(
    way: str, travels: bool, is_link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("user/sub", "elsewhere", "user2", "links"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("user")
    place = tmp_path / way / "moved.py"
    place.write_text("def one(record):\n    return 'its own code'\n")
    if is_link:
        (tmp_path / "links/moved.py").symlink_to(place)
        place = tmp_path / "links/moved.py"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "link/script.py"), raising=False)
    monkeypatch.syspath_prepend(str(place.parent))
    flow = sage.Flow("moved")
    flow.from_collection([1]).map(__import__("moved").one).for_each(print)
    assert (b"its own code" in pickled_graph(flow.graph())) is travels


def test_a_file_given_to_a_command_travels_with_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the script is the command, in a folder of programs."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "bin/sage-cluster"), raising=False)
    (tmp_path / "user").mkdir()
    (tmp_path / "user/flow.py").write_text(FLOW)
    (tmp_path / "user/splitting.py").write_text("def split(line):\n    return line.split()\n")
    data = pickled_graph(flows_in(tmp_path / "user/flow.py")["flow"].graph())
    for name in ("splitting", "sage_run_flow"):
        del sys.modules[name]
    sys.path.remove(str(tmp_path / "user"))
    graph = graph_from_pickle(data, "node-1")
    functions = [step.spec.fn for step in graph.steps if isinstance(step.spec, FlatMap | Map)]
    assert [functions[0]("to be"), functions[1]("be")] == [["to", "be"], "BE"]
