"""The Python that an engine names for its vLLM server, looked at before anything is started."""

from pathlib import Path

import pytest

from cluster.serving.engines.spec import spec_from_text
from cluster.serving.engines.vllm_start import vllm_engine
from sage.base.errors import ExtraMissing
from sage.base.ids import EngineId


def started_by(python: Path) -> None:
    vllm_engine(spec_from_text(f"vllm:some/model,model=m,python={python}"), EngineId("e"), lambda name: python)


@pytest.mark.parametrize(("name", "why"), [("python", "there is no Python"), ("", "cannot be run")])
def test_a_python_that_cannot_be_run_is_an_error_that_says_what_to_do(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ExtraMissing, match=why) as caught:
        started_by(tmp_path / name)
    assert "python=PATH" in (caught.value.do or "")
    assert "sage engines install vllm" in (caught.value.do or "")
    assert caught.value.param == "python"
