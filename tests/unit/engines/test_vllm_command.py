"""How a vLLM server is told what to do."""

import itertools
import json
from pathlib import Path

import pytest

from cluster.serving.engines.lora_folder import highest_rank
from cluster.serving.engines.spec import spec_from_settings, spec_from_text
from cluster.serving.engines.vllm_command import vllm_command, vllm_environ
from sage.base.errors import EngineStartFailed
from sage.base.settings import EngineSettings

PYTHON = Path("/e/bin/python")


def command(text: str, *, has_gpu: bool = False) -> str:
    return " ".join(vllm_command(spec_from_text(text), PYTHON, 8001, has_gpu=has_gpu))


def test_it_listens_on_this_machine_alone_and_serves_the_model_by_its_name() -> None:
    said = command("vllm:/models/qwen3,max_running=7,context_tokens=99")
    assert said.startswith("/e/bin/python -P -m vllm.entrypoints.openai.api_server --model /models/qwen3 ")
    assert "--served-model-name qwen3 --host 127.0.0.1 --port 8001" in said
    assert "--max-num-seqs 7" in said
    assert "--max-model-len 99" in said
    assert "--runner" not in said
    assert "--enable-prompt-tokens-details" in said


def test_what_embeds_is_a_server_of_its_own_kind() -> None:
    said = command("vllm:/models/e,role=embedding")
    assert "--runner pooling" in said
    assert "--enable-prompt-tokens-details" not in said


def test_what_answers_publishes_what_it_keeps_and_what_embeds_keeps_nothing() -> None:
    at = ("ipc:///f/kv", "ipc:///f/again")
    words = vllm_command(spec_from_text("vllm:/m"), PYTHON, 8001, has_gpu=False, kv_addresses=at)
    said = json.loads(words[words.index("--kv-events-config") + 1])
    assert said == {"enable_kv_cache_events": True, "endpoint": at[0], "replay_endpoint": at[1]}
    assert "--kv-events-config" not in command("vllm:/m")
    embeds = vllm_command(spec_from_text("vllm:/m,role=embedding"), PYTHON, 8001, has_gpu=False, kv_addresses=at)
    assert "--kv-events-config" not in embeds


def test_on_cpus_nothing_is_compiled_and_on_gpus_what_is_its_own_is_said() -> None:
    assert "--enforce-eager" in command("vllm:/m,kv_cache_bytes=5")
    said = command("vllm:/m,kv_cache_bytes=5,gpus=2", has_gpu=True)
    assert "--enforce-eager" not in said
    assert "--kv-cache-memory-bytes 5 --tensor-parallel-size 2" in said


def test_its_environment_is_ours_without_our_python_and_with_a_key() -> None:
    ours = {"HOME": "/h", "PYTHONPATH": "/ours"}
    environ = vllm_environ(spec_from_text("vllm:/m,kv_cache_bytes=2147483648"), ours, "secret", has_gpu=False)
    assert environ["HOME"] == "/h"
    assert environ["VLLM_API_KEY"] == "secret"
    assert environ["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert environ["HF_HUB_OFFLINE"] == "1"
    assert "PYTHONPATH" not in environ
    of_hub = vllm_environ(spec_from_text("vllm:org/m"), ours, "secret", has_gpu=True)
    assert not {"HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE"} & of_hub.keys()


def test_adapters_are_named_with_their_slots_and_rank() -> None:
    spec = spec_from_text("vllm:/m,adapter=sql=/a/sql,adapter=law=/a/law,adapter_slots=1")
    words = vllm_command(spec, PYTHON, 8001, has_gpu=False, adapter_rank=16)
    assert "--enable-lora --max-loras 1 --max-lora-rank 16 --max-cpu-loras 2" in " ".join(words)
    assert modules_of(words) == [{"name": "sql", "path": "/a/sql"}, {"name": "law", "path": "/a/law"}]
    assert "lora" not in command("vllm:/m")


def modules_of(words: list[str]) -> list[object]:
    begin = words.index("--lora-modules") + 1
    return [json.loads(word) for word in itertools.takewhile(lambda word: word.startswith("{"), words[begin:])]


def test_the_folder_of_an_adapter_may_have_any_name() -> None:
    folder = "/a/rank=8,of law"
    settings = EngineSettings(name="v", kind="vllm", model="m", target="/m", adapters={"law": folder})
    words = vllm_command(spec_from_settings(settings), PYTHON, 8001, has_gpu=False, adapter_rank=8)
    assert modules_of(words) == [{"name": "law", "path": folder}]


def test_no_fewer_adapters_stay_in_memory_than_have_slots() -> None:
    assert "--max-loras 3 --max-lora-rank 0 --max-cpu-loras 3" in command("vllm:/m,adapter=sql=/a,adapter_slots=3")


def test_the_rank_is_the_least_that_vllm_takes_for_what_the_folders_say(tmp_path: Path) -> None:
    for name, rank in (("a", 9), ("b", 24)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(f'{{"peft_type": "LORA", "r": {rank}}}')
    text = f"vllm:/m,adapter=a={tmp_path}/a"
    assert highest_rank(spec_from_text(text)) == 16
    assert highest_rank(spec_from_text(f"{text},adapter=b={tmp_path}/b")) == 32
    assert highest_rank(spec_from_text("vllm:/m")) == 0


@pytest.mark.parametrize(
    ("config", "what"),
    [(None, "is no folder of an adapter"), ("{}", "says no rank"), ('{"r": 1024}', "is of rank 1024")],
)
def test_a_folder_that_holds_no_adapter_is_refused(tmp_path: Path, config: str | None, what: str) -> None:
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(EngineStartFailed, match=what):
        highest_rank(spec_from_text(f"vllm:/m,adapter=a={tmp_path}"))
