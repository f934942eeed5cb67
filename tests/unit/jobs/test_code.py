"""How code travels: by file where a file says it all, else in an envelope; loaded only if it is the same."""

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.jobs.code import Shipper, code_of, graph_from_code
from cluster.jobs.envelope import CodeVerifier, EnvelopeVerifier, NoCodeShipping
from cluster.jobs.flow_file import flows_in
from cluster.jobs.graph_digest import graph_sha256
from cluster.jobs.pickled_graph import pickled_graph
from cluster.runtime.signing import new_signing_key
from cluster.runtime.travelling_code import Code, FileCode, ShippedCode
from sage.base.clock import ManualClock
from sage.base.errors import CodeMismatch, CodeRefused, FlowInvalid
from sage.base.ids import JobId
from sage.flow.graph import Graph
from sage.flow.spec import FlatMap, Map

JOB = JobId("job-1")
KEY = new_signing_key()
CLOCK = ManualClock()
SHIP = Shipper(KEY, CLOCK)
VERIFIER = EnvelopeVerifier(lambda: {KEY.public_key})

WORDS = """
import sage
from splitting import split
flow = sage.Flow("words")
flow.from_collection(["to be", "or not"]).flat_map(split).for_each(print)
"""
SPLITTING = "def split(line):\n    return line.split()\n"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(WORDS)
    (tmp_path / "splitting.py").write_text(SPLITTING)
    return tmp_path


def loaded(
    code: Code,
    verifier: CodeVerifier = VERIFIER,
    *,
    at_unix_s: float | None = None,
    offered: Sequence[Path] | None = None,
) -> Graph:
    at = CLOCK.unix_s() if at_unix_s is None else at_unix_s
    return graph_from_code(code, verifier, job_id=JOB, node="alder", at_unix_s=at, offered=offered)


def file_code(project: Path) -> FileCode:
    code = code_of(flows_in(project / "flow.py")["flow"].graph(), JOB, SHIP)
    assert isinstance(code, FileCode)
    return code


def test_a_flow_at_the_top_of_a_file_travels_by_the_files_name(project: Path) -> None:
    code = file_code(project)
    assert code.target == f"{project / 'flow.py'}:flow"
    graph = loaded(code)
    assert [step.name for step in graph.steps] == ["from_collection", "flat_map", "for_each"]
    spec = graph.steps[1].spec
    assert isinstance(spec, FlatMap)
    assert spec.fn("a b") == ["a", "b"]


def test_no_node_loads_it_as_the_script_that_was_started(project: Path) -> None:
    (project / "flow.py").write_text(f"{WORDS}\nassert __name__.startswith('sage_')")
    loaded(file_code(project))


def test_every_node_loads_it_under_the_same_name(project: Path) -> None:
    code = file_code(project)
    names = []
    for _ in range(2):
        before = set(sys.modules)
        loaded(code)
        names += [name for name in sys.modules if name.startswith("sage_flow_") and name not in before]
    assert len(names) == 1


@pytest.mark.parametrize("file", ["flow.py", "splitting.py"])
def test_a_file_that_differs_is_not_run_and_both_hashes_are_named(project: Path, file: str) -> None:
    code = file_code(project)
    (project / file).write_text("raise SystemExit('it ran')")
    with pytest.raises(CodeMismatch) as raised:
        loaded(code)
    assert "node alder" in raised.value.what
    assert code.sha256[:16] in raised.value.what
    assert raised.value.what.count(" hash ") == 1
    assert "flow.py" in raised.value.do


def test_a_file_that_a_node_lacks_is_named(project: Path) -> None:
    code = file_code(project)
    (project / "flow.py").unlink()
    with pytest.raises(CodeMismatch, match=r"node alder has no .*flow\.py"):
        loaded(code)


@pytest.mark.parametrize("target", ["flow.py:flow", "../flow.py:flow", "nowhere.at.all:flow", ":flow", "", "a..b:c"])
def test_a_target_that_is_nowhere_is_refused(target: str) -> None:
    with pytest.raises(CodeMismatch, match="node alder has no"):
        loaded(FileCode(target, "0" * 64))


def test_a_job_that_comes_after_a_change_gets_the_changed_files(project: Path) -> None:
    """A node lives longer than a file does: what it has imported before is not what was submitted."""
    loaded(file_code(project))
    (project / "splitting.py").write_text("def split(line):\n    return [line.upper()]\n")
    spec = loaded(file_code(project)).steps[1].spec
    assert isinstance(spec, FlatMap)
    assert spec.fn("a b") == ["A B"]


def test_two_projects_with_files_of_one_name_do_not_meet(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "flow.py").write_text(WORDS)
    (other / "splitting.py").write_text("def split(line):\n    return []\n")
    first = loaded(file_code(project))
    second = loaded(file_code(other))
    found = [graph.steps[1].spec.fn("a b") for graph in (first, second) if isinstance(graph.steps[1].spec, FlatMap)]
    assert found == [["a", "b"], []]


def test_a_flow_in_a_package_is_loaded_with_what_it_imports_from_there(tmp_path: Path) -> None:
    package = tmp_path / "app" / "flows"
    package.mkdir(parents=True)
    for folder in (tmp_path / "app", package):
        (folder / "__init__.py").write_text("")
    (package / "main.py").write_text(WORDS.replace("from splitting", "from ..splitting"))
    (tmp_path / "app" / "splitting.py").write_text(SPLITTING)
    sys.path.insert(0, str(tmp_path))
    module = __import__("app.flows.main", fromlist=["flow"])
    code = code_of(module.flow.graph(), JOB, None)
    assert isinstance(code, FileCode)
    assert graph_sha256(loaded(code)) == graph_sha256(module.flow.graph())


def test_a_flow_that_depends_on_more_than_its_files_is_refused_elsewhere(project: Path) -> None:
    text = WORDS.replace('["to be", "or not"]', "sys.argv[:1]").replace("import sage", "import sage, sys")
    (project / "flow.py").write_text(text)
    before = sys.argv
    try:
        sys.argv = ["one"]
        code = file_code(project)
        assert loaded(code).steps
        sys.argv = ["another"]
        with pytest.raises(CodeMismatch, match="though its files are the same"):
            loaded(code)
    finally:
        sys.argv = before


def test_steps_below_the_scripts_guard_are_not_left_out_but_shipped(project: Path) -> None:
    guard = "if __name__.startswith('sage_run'):\n    flow.from_collection([1]).map(abs).for_each(print)\n"
    (project / "flow.py").write_text(WORDS + guard)
    code = code_of(flows_in(project / "flow.py")["flow"].graph(), JOB, SHIP)
    assert isinstance(code, ShippedCode)
    assert len(loaded(code).steps) == 6


def local_flow() -> Graph:
    flow = sage.Flow("local")
    plus = 40
    flow.from_collection([1, 2]).map(lambda number: number + plus).collect()
    return flow.graph()


def test_a_flow_that_is_in_no_file_is_shipped_with_its_closures() -> None:
    code = code_of(local_flow(), JOB, SHIP)
    assert isinstance(code, ShippedCode)
    graph = loaded(code)
    spec = graph.steps[1].spec
    assert isinstance(spec, Map)
    assert spec.fn(2) == 42
    assert [step.name for step in graph.steps] == [step.name for step in local_flow().steps]


def test_without_code_shipping_such_a_flow_is_refused_where_it_is_submitted() -> None:
    with pytest.raises(CodeRefused, match="code shipping is off") as raised:
        code_of(local_flow(), JOB, None)
    assert "top level of a file" in raised.value.do


def test_without_code_shipping_a_node_opens_nothing_and_still_loads_files(project: Path) -> None:
    with pytest.raises(CodeRefused, match="code shipping is off"):
        loaded(code_of(local_flow(), JOB, SHIP), NoCodeShipping())
    assert loaded(file_code(project), NoCodeShipping()).name == "words"


def test_nothing_is_unpickled_before_everything_is_checked(tmp_path: Path) -> None:
    """The bytes would leave a trace; whatever is wrong with their envelope, they do not get the chance."""
    trace = tmp_path / "trace"
    graph = local_flow()
    code = Shipper(KEY, CLOCK)(traced(graph, trace), JOB)
    at_unix_s = CLOCK.unix_s()
    changed = bytearray(code.envelope)
    changed[len(changed) // 2] ^= 1
    attempts: list[tuple[bytes, CodeVerifier, float]] = [
        (code.envelope, NoCodeShipping(), at_unix_s),
        (code.envelope, EnvelopeVerifier(frozenset), at_unix_s),
        (code.envelope, VERIFIER, at_unix_s + 1e6),
        (bytes(changed), VERIFIER, at_unix_s),
        (Shipper(new_signing_key(), CLOCK)(traced(graph, trace), JOB).envelope, VERIFIER, at_unix_s),
        (Shipper(KEY, CLOCK)(traced(graph, trace), JobId("job-2")).envelope, VERIFIER, at_unix_s),
    ]
    for envelope, verifier, at in attempts:
        with pytest.raises(CodeRefused):
            loaded(ShippedCode(envelope), verifier, at_unix_s=at)
        assert not trace.exists()
    loaded(code)
    assert trace.exists()


class Tracing:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __call__(self, record: object) -> object:
        return record

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def traced(graph: Graph, trace: Path) -> Graph:
    flow = sage.Flow(graph.name)
    flow.from_collection([1]).map(Tracing(trace)).for_each(print)
    return flow.graph()


def test_several_threads_may_submit_flows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one of them had registered with cloudpickle, another took back."""
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", __file__, raising=False
    )  # so that there are modules beside the script
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(max_workers=4) as pool:
            assert len(set(pool.map(lambda _: len(pickled_graph(local_flow())), range(200)))) == 1
    finally:
        sys.setswitchinterval(switch_s)


def test_what_cannot_travel_is_named_where_it_is_submitted() -> None:
    flow = sage.Flow("locked")
    lock = threading.Lock()
    flow.from_collection([1]).map(lambda number: (number, lock)).for_each(print)
    with pytest.raises(FlowInvalid, match=r'"locked" cannot travel: .*lock'):
        code_of(flow.graph(), JOB, SHIP)


def test_what_a_node_cannot_load_is_named_there(tmp_path: Path) -> None:
    (tmp_path / "installed_here.py").write_text("def one(record):\n    return record\n")
    sys.path.insert(0, str(tmp_path))
    flow = sage.Flow("foreign")
    flow.from_collection([1]).map(__import__("installed_here").one).for_each(print)
    code = code_of(flow.graph(), JOB, SHIP)
    del sys.modules["installed_here"]
    sys.path.remove(str(tmp_path))
    with pytest.raises(FlowInvalid, match=r"node alder cannot load the flow: .*installed_here"):
        loaded(code)


def test_what_is_no_graph_is_refused_though_it_is_signed() -> None:
    import cloudpickle

    from cluster.jobs.envelope import LEN_NONCE_BYTES, seal

    envelope = seal(
        cloudpickle.dumps("text"), KEY, JOB, nonce=bytes(LEN_NONCE_BYTES), expires_unix_s=CLOCK.unix_s() + 60
    )
    with pytest.raises(CodeRefused, match="no graph"):
        loaded(ShippedCode(envelope))


def test_a_file_in_no_folder_that_the_node_offers_is_refused_before_it_runs(project: Path, tmp_path: Path) -> None:
    code = file_code(project)
    (project / "flow.py").write_text("raise AssertionError('it was run')")
    elsewhere = tmp_path / "offered"
    elsewhere.mkdir()
    (elsewhere / "link.py").symlink_to(project / "flow.py")
    for target in (code.target, f"{elsewhere}/link.py:flow", f"{elsewhere}/../flow.py:flow"):
        with pytest.raises(CodeRefused, match=f"node alder loads no flow from .*: it offers {elsewhere}"):
            loaded(FileCode(target, code.sha256), offered=[elsewhere])
    with pytest.raises(CodeRefused, match="it offers no folder"):
        loaded(code, offered=[])


def test_files_below_an_offered_folder_and_installed_packages_are_loaded(project: Path) -> None:
    code = file_code(project)
    assert loaded(code, offered=[Path("/nowhere"), project.parent]).name == "words"
    assert loaded(code, offered=[project]).name == "words"
    with pytest.raises(CodeMismatch, match="with hash"):  # it may be named: what it holds decides
        loaded(FileCode("pykka:flow", "0" * 64), offered=[])


def test_a_module_of_the_standard_library_is_no_flow_of_anybodys() -> None:
    with pytest.raises(CodeRefused, match="loads no flow from"):
        loaded(FileCode("antigravity:flow", "0" * 64), offered=[])
