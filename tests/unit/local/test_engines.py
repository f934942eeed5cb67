"""Which engines a flow needs: configured before embedded, and refused with the user's line before anything runs."""

import pytest

import sage
from cluster.local.engines import specs_for_needs
from cluster.local.needs import needs_of_graph
from cluster.serving.engines.spec import EngineSpec, spec_from_text
from sage.base.errors import ModelMissing, UnknownModel

SIMULATED = spec_from_text("simulated:cpu2,model=sim,role=chat")


def found_for(*models: str, configured: tuple[EngineSpec, ...] = (SIMULATED,)) -> list[str]:
    flow = sage.Flow("asks")
    for model in models:
        flow.from_collection(["a"]).generate(model=model, prompt="{}").collect()
    return [spec.name for spec in specs_for_needs(needs_of_graph(flow.graph()), configured, lambda name: None)]


def test_a_configured_engine_serves_its_model() -> None:
    assert found_for("sim") == ["sim"]


def test_a_model_of_the_catalogue_gets_its_embedded_engine_once() -> None:
    assert found_for("smollm2", "smollm2", "sim") == ["smollm2", "sim"]


def test_a_configured_engine_goes_before_the_embedded_one_of_the_same_model() -> None:
    own = spec_from_text("simulated:cpu2,model=smollm2,name=own")
    assert found_for("smollm2", configured=(own,)) == ["own"]


def test_a_model_that_nobody_serves_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(UnknownModel, match=r"test_engines\.py:\d+.*'gpt-9'.*\n.*sim, smollm2, minilm"):
        found_for("gpt-9")


def test_a_model_that_cannot_do_what_is_asked_is_refused() -> None:
    with pytest.raises(UnknownModel, match=r"'minilm' to generate\n.*only embed"):
        found_for("minilm")


def test_missing_files_are_told_with_the_users_line_and_what_to_do() -> None:
    def check_files(name: str) -> None:
        raise ModelMissing(f"model {name} is not on this machine", f"Run: sage models pull {name}")

    flow = sage.Flow("asks")
    flow.from_collection(["a"]).embed(model="minilm").collect()
    with pytest.raises(ModelMissing, match=r"test_engines\.py:\d+.*not on this machine\n.*sage models pull minilm"):
        specs_for_needs(needs_of_graph(flow.graph()), (), check_files)


def test_a_flow_without_model_steps_needs_no_engine() -> None:
    flow = sage.Flow("plain")
    flow.from_collection([1]).map(abs).collect()
    assert needs_of_graph(flow.graph()) == []
