"""What `import sage` gives, and what it does not load."""

import subprocess
import sys

import pytest

import sage

HEAVY = {"numpy", "rich", "typer", "asyncio", "fastapi", "zmq", "pykka", "importlib.metadata", "email"}


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(sage.__all__) == sorted(set(sage.__all__))
    for name in sage.__all__:
        assert getattr(sage, name).__doc__, name
        assert name in dir(sage)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Flwo'"):
        _ = sage.Flwo  # type: ignore[attr-defined]  # what is tested


@pytest.mark.parametrize(
    "code",
    [
        "import sage",
        "import sage; f = sage.Flow('f'); f.from_collection([1]).collect(); f.graph(); f._repr_html_(); sage.connect",
    ],
)
def test_writing_a_flow_down_loads_nothing_heavy(code: str) -> None:
    listing = f"{code}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, timeout=60)
    assert HEAVY.isdisjoint(loaded.stdout.split())
