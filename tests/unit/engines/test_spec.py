"""Engines as people write them down."""

from typing import Any

import msgspec
import pytest

from cluster.serving.engines.spec import (
    EngineSpec,
    ServerOptions,
    SharingOptions,
    engine_ids,
    spec_from_settings,
    spec_from_text,
)
from cluster.serving.sharing import SharingMode
from sage.base.errors import ConfigInvalid, UnknownModel
from sage.base.inference import Kind
from sage.base.settings import EngineSettings

_ALL = (Kind.CHAT, Kind.GENERATE, Kind.EMBED, Kind.SCORE)


def test_an_engine_on_a_command_line_is_kind_target_and_keys() -> None:
    assert spec_from_text("simulated:h100,model=sim,name=first,replicas=2") == EngineSpec(
        "first", "simulated", "h100", "sim", _ALL, 2
    )


def test_a_settings_table_says_the_same() -> None:
    settings = EngineSettings(name="first", kind="simulated", model="sim", target="h100", replicas=2)
    assert spec_from_settings(settings) == spec_from_text("simulated:h100,model=sim,name=first,replicas=2")


def test_a_role_leaves_only_its_kinds() -> None:
    assert spec_from_text("simulated:h100,role=chat").kinds == (Kind.CHAT, Kind.GENERATE)
    assert spec_from_text("simulated:h100,role=embedding").kinds == (Kind.EMBED, Kind.SCORE)
    assert spec_from_text("simulated:h100,role=embedding,role=chat").kinds == _ALL


def test_what_scores_is_named_by_its_role_or_its_folder() -> None:
    for text in ("simulated:h100", "openvino:minilm", "openai:http://h,model=m", "vllm:/models/judge"):
        assert spec_from_text(f"{text},role=rerank").kinds == (Kind.SCORE,)
    folder = spec_from_text("openvino:/models/ms-marco/")
    assert (folder.model, folder.kinds) == ("ms-marco", (Kind.SCORE,))
    with pytest.raises(ConfigInvalid, match="cannot take the role"):
        spec_from_text("openvino:/models/ms-marco,role=embedding")
    with pytest.raises(ConfigInvalid, match="cannot take the role"):
        spec_from_text("openvino:smollm2,role=rerank")


def test_a_real_model_is_served_for_what_the_catalogue_says_under_a_name_of_choice() -> None:
    assert spec_from_text("openvino:smollm2") == EngineSpec(
        "smollm2", "openvino", "smollm2", "smollm2", (Kind.CHAT, Kind.GENERATE)
    )
    assert spec_from_text("openvino:minilm,role=embedding,model=small").model == "small"
    by_table = spec_from_settings(EngineSettings(name="e", kind="openvino", model="minilm"))
    assert (by_table.target, by_table.kinds) == ("minilm", (Kind.EMBED, Kind.SCORE))


def test_a_server_is_named_by_its_url_and_does_what_its_roles_say() -> None:
    spec = spec_from_text("openai:http://127.0.0.1:9001,model=mock,max_running=3,key_env=MY_KEY,context_tokens=99")
    assert (spec.target, spec.model, spec.kinds) == ("http://127.0.0.1:9001/v1", "mock", (Kind.CHAT, Kind.GENERATE))
    assert spec.server == ServerOptions("MY_KEY", 3, 99)
    assert spec_from_text("openai:https://h/api/v3/,model=m,role=embedding").kinds == (Kind.EMBED, Kind.SCORE)
    assert spec_from_text("openai:https://h/api/v3/,model=m").target == "https://h/api/v3"


def test_a_table_names_a_server_by_its_url_and_anything_else_by_its_target() -> None:
    table = {"name": "m", "kind": "openai", "model": "m", "url": "http://h:9001", "devices": ["CPU"], "roles": ["chat"]}
    assert spec_from_settings(msgspec.convert(table, EngineSettings)) == spec_from_text("openai:http://h:9001,model=m")


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("openai", {"target": "http://h"}, 'Write url = "http://h"'),
        ("openai", {}, "is no URL of a server"),
        ("simulated", {"url": "http://h"}, "simulated engines have no url"),
        ("vllm", {"devices": ("CPU", "cuda:0")}, "GPUs are asked for by gpus"),
    ],
)
def test_a_table_that_says_what_its_kind_does_not_have_is_refused(kind: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        spec_from_settings(EngineSettings(name="m", kind=kind, model="m", **given))
    assert says in str(caught.value)


def test_a_model_that_is_not_in_the_catalogue_is_unknown() -> None:
    with pytest.raises(UnknownModel, match="Did you mean minilm"):
        spec_from_text("openvino:minilmm")


def test_a_role_that_the_model_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="cannot take the role chat"):
        spec_from_text("openvino:minilm,role=chat")


def test_replicas_have_ids_of_their_own() -> None:
    assert engine_ids(spec_from_text("simulated:h100,model=sim")) == ("sim",)
    assert engine_ids(spec_from_text("simulated:h100,model=sim,replicas=3")) == ("sim-1", "sim-2", "sim-3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("simulated", "is not KIND:TARGET"),
        (":h100", "is not KIND:TARGET"),
        ("simulated:h100,model", "'model' is not KEY=VALUE"),
        ("simulatd:h100", "Did you mean simulated?"),
        ("openvin:smollm2", "Did you mean openvino?"),
        ("simulated:h10", "Did you mean h100?"),
        ("simulated:h100,modl=sim", "Did you mean model?"),
        ("simulated:h100,role=embeding", "Did you mean embedding?"),
        ("simulated:h100,model=a,model=b", "model is given 2 times"),
        ("simulated:h100,replicas=0", "replicas"),
        ("simulated:h100,replicas=many", "replicas"),
        ("simulated:h100,device=GPU", "run on CPU, not on 'GPU'"),
        ("vlm:/models/x", "no kind is named 'vlm'"),
        ("openai:127.0.0.1:80,model=m", "is no URL of a server"),
        ("openai:http://h?x=1,model=m", "is no URL of a server"),
        ("openai:http://h:99999,model=m", "is no URL of a server"),
        ("openai:http://[::1,model=m", "is no URL of a server"),
        ("openai:http://me:secret@h,model=m", "no place for a password"),
        ("openai:http://h,model=m,max_running=0", "max_running"),
        ("simulated:h100,max_running=3", "are of engines reached by HTTP"),
        ("simulated:h100,gpu_type=h100", "asks for no GPU"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_suggestion(text: str, says: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        spec_from_text(text)
    assert says in str(caught.value)


def test_an_embedding_engine_says_how_it_shares_its_device() -> None:
    spec = spec_from_text("openvino:minilm,sharing=alternating,itl_target_ms=60,max_held_ms=80")
    assert spec.sharing == SharingOptions(SharingMode.ALTERNATING, 60.0, 80.0)
    assert (spec.sharing.target_s, spec.sharing.max_held_s) == (0.06, 0.08)
    assert spec_from_text("openvino:minilm").sharing.target_s is None


@pytest.mark.parametrize("engine", ["openvino:smollm2,sharing=gated", "simulated:cpu2,max_held_ms=5"])
def test_only_engines_that_give_way_are_told_how(engine: str) -> None:
    with pytest.raises(ConfigInvalid, match="openvino engines that embed"):
        spec_from_text(engine)


@pytest.mark.parametrize("option", ["itl_target_ms=60", "max_held_ms=80"])
def test_how_embeddings_give_way_is_refused_where_they_do_not(option: str) -> None:
    assert spec_from_text(f"openvino:minilm,{option}").sharing.mode is SharingMode.AUTO, "they do by default"
    assert spec_from_text("openvino:minilm,sharing=off").sharing.mode is SharingMode.OFF
    with pytest.raises(ConfigInvalid, match="sharing is off"):
        spec_from_text(f"openvino:minilm,sharing=off,{option}")


def test_an_unknown_way_of_sharing_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="sharing"):
        spec_from_text("openvino:minilm,sharing=sometimes")


def test_adapters_are_named_with_their_folders_and_come_with_slots() -> None:
    spec = spec_from_text("vllm:/models/qwen3,adapter=sql=/a/sql,adapter=law=/a/law=2")
    assert spec.adapters.folders == (("sql", "/a/sql"), ("law", "/a/law=2"))
    assert spec.adapters.slots == 2
    assert spec.models == ("qwen3", "sql", "law")
    assert spec_from_text("simulated:h100,model=m,adapter=a,adapter=b,adapter_slots=1").adapters.slots == 1
    many = ",".join(f"adapter=a{number}" for number in range(9))
    assert spec_from_text(f"simulated:h100,model=m,{many}").adapters.slots == 4
    assert spec_from_text("openai:http://h,model=m,adapter=a,adapter_slots=3").adapters.slots == 3
    assert spec_from_text("openai:http://h,model=m,adapter=a").models == ("m", "a")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("openvino:smollm2,adapter=a=/a", "adapters are of vllm, openai and simulated engines"),
        ("openai:http://h,model=m,adapter=a=/a", "openai engines read no folder"),
        ("openai:http://h,model=m,adapter=m", "needs a name of its own that can be printed, not 'm'"),
        ("openai:http://h,model=m,adapter=a\x1b[2J", "not 'a\\x1b[2J'"),
        ("openai:http://h,model=m,adapter_slots=2", "there are none"),
        ("vllm:/m,adapter=a", "Say where it is: adapter=a=FOLDER"),
        ("vllm:/m,adapter=m=/a", "needs a name of its own that can be printed, not 'm'"),
        ("vllm:/m,adapter==/a", "needs a name of its own that can be printed, not ''"),
        ("vllm:/m,adapter=a=/a,adapter=a=/b", "adapter 'a' is given twice"),
        ("vllm:/m,role=embedding,adapter=a=/a", "adapters are of models that answer"),
        ("vllm:/m,adapter_slots=2", "there are none"),
        ("simulated:h100,model=m,adapter=a=/a", "simulated engines read no folder"),
    ],
)
def test_adapters_that_an_engine_cannot_have_are_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        spec_from_text(text)
    assert what in str(refused.value)
