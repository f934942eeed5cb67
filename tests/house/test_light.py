"""What `import sage` and help load: little. Counts modules, not milliseconds."""

import subprocess
import sys

import pytest

HEAVY = (
    "asyncio", "cluster.local", "cluster.runtime", "fastapi", "importlib.metadata", "multiprocessing", "numpy",
    "openvino", "openvino_genai", "prometheus_client", "psutil", "pydantic", "pykka", "rich", "structlog", "tokenizers",
    "uvicorn", "uvloop", "zmq",
)  # fmt: skip
LAYERS_ABOVE = ("operators", "cluster", "gateway", "benchmarks")


def _loaded_after(code: str) -> set[str]:
    """Return the modules that a new interpreter has after `code`."""
    script = f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_import_sage_loads_nothing_heavy_and_nothing_above_the_language() -> None:
    loaded = _loaded_after("import sage")
    assert not loaded.intersection(HEAVY)
    assert not {name for name in loaded if name.split(".")[0] in LAYERS_ABOVE}


@pytest.mark.parametrize("name", [None, "Flow", "Index"])
def test_the_public_names_are_there_without_anything_heavy(name: str | None) -> None:
    names = "[getattr(sage, n) for n in sage.__all__]" if name is None else f"sage.{name}"
    assert not _loaded_after(f"import sage; {names}").intersection(HEAVY)


def test_the_overview_loads_no_verb_and_no_typer() -> None:
    loaded = _loaded_after("import sage.cli; sage.cli.main(['--help'])")
    assert not loaded.intersection((*HEAVY, "typer"))
    assert not {name for name in loaded if name.startswith("cluster.commands.")}


@pytest.mark.parametrize(
    "verb", ["run", "doctor", "version", "models list", "models pull", "config show", "demo", "gateway serve"]
)
def test_the_help_of_a_command_loads_nothing_heavy(verb: str) -> None:
    loaded = _loaded_after(f"import sage.cli; assert sage.cli.main([*{verb.split()!r}, '--help']) == 0")
    assert not loaded.intersection(HEAVY)


def test_who_starts_a_cluster_loads_neither_its_messages_nor_its_journal() -> None:
    loaded = _loaded_after("import cluster.client.start, cluster.commands.cluster, cluster.serving.engines.spec")
    assert not loaded.intersection({"cluster.runtime.control", "cluster.runtime.messages", "sage.flow.plan", "sqlite3"})


EVERY_HELP = """
import sys
from cluster.commands.cluster import app
from sage.cli import run_command
verbs = [command.name or command.callback.__name__ for command in app.registered_commands]
assert len(verbs) > 10, verbs
for verb in verbs:
    assert run_command(app, "sage-cluster", [verb, "--help"]) == 0
    heavy = sorted(set(HEAVY).intersection(sys.modules))
    assert not heavy, f"sage-cluster {verb} --help loads {heavy}"
"""


def test_the_help_of_every_verb_of_a_cluster_loads_nothing_heavy() -> None:
    loaded = _loaded_after(f"HEAVY = {HEAVY!r}\n{EVERY_HELP}")
    assert not loaded.intersection(HEAVY)
