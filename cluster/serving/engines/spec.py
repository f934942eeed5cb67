"""What engine is wanted, from a command line or a settings table. Knows nothing of how an engine is started."""

import difflib
from collections.abc import Iterable
from typing import Literal, TypeVar, get_args

import msgspec

from cluster.serving.engines.adapter_options import NO_ADAPTERS, AdapterOptions, adapter_options, adapters_from_texts
from cluster.serving.engines.cost import profile_of
from cluster.serving.engines.server_address import server_parts
from cluster.serving.sharing import SharingMode
from sage.base.catalog import entry_of
from sage.base.demand import Demand, labels_from_mapping
from sage.base.errors import ConfigInvalid, UnknownModel
from sage.base.ids import EngineId
from sage.base.inference import TEXT_KINDS, Kind
from sage.base.settings import EngineSettings

Role = Literal["chat", "embedding", "rerank"]
EngineKind = Literal["openai", "openvino", "simulated", "vllm"]

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_ENGINE_KINDS: dict[str, EngineKind] = {kind: kind for kind in get_args(EngineKind)}
_KINDS_OF_ROLE: dict[Role, tuple[Kind, ...]] = {
    "chat": (Kind.CHAT, Kind.GENERATE),
    "embedding": (Kind.EMBED, Kind.SCORE),
    "rerank": (Kind.SCORE,),
}
_OF_SERVERS = ("key_env", "max_running", "context_tokens", "max_silence_s", "gives_back")
_OF_SHARING = ("sharing", "itl_target_ms", "max_held_ms")
_OF_PROCESSES = ("port", "python", "kv_cache_bytes")
_OF_ADAPTERS = ("adapter_slots",)
_NUMBERS = ("replicas", "cpus", "memory_bytes", "gpus", "gpu_memory_bytes", "max_iteration_s", "start_timeout_s")
_OPTIONS = (*_NUMBERS, *_OF_SERVERS, *_OF_PROCESSES, *_OF_ADAPTERS, *_OF_SHARING)
_OF_NODES = ("gpu_type", "anti_affinity")
_KEYS = ("model", "name", "role", "device", *_OF_NODES, "label", "adapter", *_OPTIONS)
_MANY = ("role", "device", "label", "adapter")
_START_TIMEOUT_S = 120.0
_SERVER_START_TIMEOUT_S = 600.0  # a large model takes minutes to load and to compile

V = TypeVar("V")


class ServerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known of a server that is reached by HTTP.

    `key_env`: the environment variable that holds the key for it; none: no key. `context_tokens` 0: as it says.
    `gives_back`: it is known to stop a request whose connection is closed before the first token.
    """

    key_env: str = ""
    max_running: int = 64
    context_tokens: int = 0
    max_silence_s: float = 120.0
    gives_back: bool = False


class ProcessOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known of a server that the engine's host starts itself.

    `port` 0: any free one. `python`: of the environment that it runs in; "": the one that `sage engines install` made.
    `kv_cache_bytes`: what it keeps for keys and values; 0: as it thinks best, 4 GiB on CPUs.
    """

    port: int = 0
    python: str = ""
    kv_cache_bytes: int = 0


class SharingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an embedding engine shares its device with chat; 0: as `sharing` has it by default."""

    mode: SharingMode = SharingMode.AUTO
    itl_target_ms: float = 0.0
    max_held_ms: float = 0.0

    @property
    def target_s(self) -> float | None:
        return self.itl_target_ms / 1000 if self.itl_target_ms else None

    @property
    def max_held_s(self) -> float | None:
        return self.max_held_ms / 1000 if self.max_held_ms else None


class EngineSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An engine that can be started. `model` is the name it serves, `kinds` what it serves it for.

    `target`: of `openvino` the model's name in the catalogue, or the folder of a cross-encoder, of `simulated` the
    name of its cost profile, of `openai` the URL after which `/chat/completions` follows, of `vllm` a folder, or a name
    of the hub. `demand`: what each replica takes of its node. One whose iteration lasts longer than `max_iteration_s`
    counts as hung, and one that is not ready within `start_timeout_s` as failed.
    """

    name: str
    kind: EngineKind
    target: str
    model: str
    kinds: tuple[Kind, ...]
    replicas: int = 1
    demand: Demand = Demand()
    max_iteration_s: float = 10.0
    server: ServerOptions = ServerOptions()
    process: ProcessOptions = ProcessOptions()
    start_timeout_s: float = _START_TIMEOUT_S
    sharing: SharingOptions = SharingOptions()
    adapters: AdapterOptions = NO_ADAPTERS

    @property
    def models(self) -> tuple[str, ...]:
        """The names that requests may ask for: its model's and its adapters'."""
        return (self.model, *self.adapters.names)


def spec_from_text(text: str) -> EngineSpec:
    """Return the engine that `KIND:TARGET[,KEY=VALUE...]` describes; `role`, `label` and `adapter` may come twice.

    >>> spec_from_text("openvino:minilm,role=embedding").kinds
    (<Kind.EMBED: 'embed'>, <Kind.SCORE: 'score'>)
    >>> spec_from_text("simulated:h100,model=sim").model
    'sim'

    Raises: ConfigInvalid, suggesting the nearest known word.
    """
    head, *pairs = text.split(",")
    kind, colon, target = head.partition(":")
    if not (kind and colon and target):
        raise ConfigInvalid(f"engine {text!r} is not KIND:TARGET[,KEY=VALUE...]", "For example: openvino:smollm2")
    values: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (equals and value):
            raise ConfigInvalid(f"engine {text!r}: {pair!r} is not KEY=VALUE", f"Its keys are {', '.join(_KEYS)}.")
        _known(key, {known: known for known in _KEYS}, f"engine {text!r}", "key")
        values.setdefault(key, []).append(value)
    return spec_from_settings(_settings(text, kind, target, values))


def _settings(text: str, kind: str, target: str, values: dict[str, list[str]]) -> EngineSettings:
    for key, given in values.items():
        if key not in _MANY and len(given) > 1:
            raise ConfigInvalid(f"engine {text!r}: {key} is given {len(given)} times", "Give it once.", param=key)
    model = values.get("model", [_model_name(kind, target)])[0]
    table: dict[str, object] = {
        "kind": kind,
        "url" if kind == "openai" else "target": target,
        "model": model,
        "name": values.get("name", [model])[0],
        "roles": [_known(role, _ROLES, f"engine {text!r}", "role") for role in values.get("role", [])],
    }
    table |= {"labels": values.get("label", []), "adapters": adapters_from_texts(values.get("adapter", []), text)}
    table |= {"devices": values["device"]} if "device" in values else {}
    table |= {key: values[key][0] for key in (*_OF_NODES, *_OPTIONS) if key in values}
    try:
        return msgspec.convert(table, EngineSettings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"engine {text!r}: {error}", f"Its keys are {', '.join(_KEYS)}.") from error


def _model_name(kind: str, target: str) -> str:
    """Return what a model is called that is given no name: of a folder, as the folder is.

    >>> _model_name("vllm", "/models/qwen3/")
    'qwen3'
    """
    return target.rstrip("/").rpartition("/")[2] if kind in ("vllm", "openvino") else target


def is_folder(target: str) -> bool:
    """Say whether the target of an `openvino` engine is a folder and no name of the catalogue: it has a slash."""
    return "/" in target


def _check_place(settings: EngineSettings, where: str) -> None:
    """Raise ConfigInvalid where a table says what an engine of its kind does not have."""
    if other := [device for device in settings.devices if device != "CPU"]:
        do = "GPUs are asked for by gpus = NUMBER." if settings.kind == "vllm" else 'Write devices = ["CPU"].'
        raise ConfigInvalid(f"{where}: {settings.kind} engines run on CPU, not on {other[0]!r}", do, param="devices")
    if settings.kind == "openai" and settings.target is not None:
        do = f'Write url = "{settings.target}".'
        raise ConfigInvalid(f"{where}: an openai engine has a url, and no target", do, param="target")
    if settings.kind != "openai" and settings.url is not None:
        do = 'A server that runs already is of kind "openai"; other kinds have a target.'
        raise ConfigInvalid(f"{where}: {settings.kind} engines have no url", do, param="url")


def spec_from_settings(settings: EngineSettings) -> EngineSpec:
    """Return the engine that an `[[engine]]` table describes.

    Raises: ConfigInvalid, suggesting the nearest known word; UnknownModel for a model that is not in the catalogue.
    """
    where = f"engine {settings.name!r}"
    kind = _known(settings.kind, _ENGINE_KINDS, where, "kind")
    _check_place(settings, where)
    if kind == "simulated":
        target = settings.target or "cpu2"
        profile_of(target)
        kinds: tuple[Kind, ...] = (Kind.CHAT, Kind.GENERATE, Kind.EMBED, Kind.SCORE)
    elif kind == "openai":
        target = server_url(settings.url or "", where)
        kinds = tuple(kind for role in settings.roles or ("chat",) for kind in _KINDS_OF_ROLE[role])
    elif kind == "vllm":
        target = settings.target or settings.model
        if len(set(settings.roles)) > 1:
            raise ConfigInvalid(
                f"{where}: a vllm server is for chat, for embeddings or for rerank", "Name several.", param="role"
            )
        kinds = _KINDS_OF_ROLE[(settings.roles or ("chat",))[0]]
    else:
        target = settings.target or settings.model
        kinds = (Kind.SCORE,) if is_folder(target) else _catalogued_kinds(target, where)
    return EngineSpec(
        settings.name,
        kind,
        target,
        settings.model,
        _wanted(kinds, settings.roles, where),
        settings.replicas,
        _demand(settings, where),
        settings.max_iteration_s,
        _server(settings, kinds, where),
        _process(settings, where),
        settings.start_timeout_s or (_SERVER_START_TIMEOUT_S if kind == "vllm" else _START_TIMEOUT_S),
        sharing=_sharing(settings, kinds, where),
        adapters=adapter_options(settings, where),
    )


def _sharing(settings: EngineSettings, kinds: tuple[Kind, ...], where: str) -> SharingOptions:
    said = SharingOptions(SharingMode(settings.sharing), settings.itl_target_ms, settings.max_held_ms)
    if said != SharingOptions() and (settings.kind != "openvino" or set(kinds).isdisjoint(TEXT_KINDS)):
        what = (
            f"{where}: {', '.join(_OF_SHARING)} are of openvino engines that embed or rerank: it is they that give way"
        )
        raise ConfigInvalid(what, "Leave them out here.", param=_OF_SHARING[0])
    if said.mode is SharingMode.OFF and (said.itl_target_ms or said.max_held_ms):
        what = f"{where}: itl_target_ms and max_held_ms say how embeddings give way, and sharing is off"
        raise ConfigInvalid(what, 'Leave sharing="off" out, or them.', param="sharing")
    return said


def _server(settings: EngineSettings, kinds: tuple[Kind, ...], where: str) -> ServerOptions:
    said = ServerOptions(
        settings.key_env,
        settings.max_running,
        settings.context_tokens,
        settings.max_silence_s,
        settings.kind == "vllm" if settings.gives_back is None else settings.gives_back,  # by vLLM's own count it does
    )
    is_told = settings.gives_back is not None
    if settings.kind not in ("openai", "vllm") and (said != ServerOptions() or is_told):
        keys = ", ".join(_OF_SERVERS)
        raise ConfigInvalid(f"{where}: {keys} are of engines reached by HTTP", "Leave them out.", param=_OF_SERVERS[0])
    if settings.kind == "vllm" and said.key_env:
        raise ConfigInvalid(f"{where}: a vllm server of ours has a key of its own", "Leave it out.", param="key_env")
    if is_told and set(kinds) <= set(TEXT_KINDS):
        what = f"{where}: gives_back is of chat and raw prompts; texts have no first token"
        raise ConfigInvalid(what, "Leave it out.", param="gives_back")
    return said


def _process(settings: EngineSettings, where: str) -> ProcessOptions:
    said = ProcessOptions(settings.port, settings.python, settings.kv_cache_bytes)
    if settings.kind != "vllm" and said != ProcessOptions():
        keys = ", ".join(_OF_PROCESSES)
        do = "Leave them out."
        raise ConfigInvalid(f"{where}: {keys} are of servers that are started here", do, param=_OF_PROCESSES[0])
    if said.port and settings.replicas > 1:
        raise ConfigInvalid(f"{where}: its replicas cannot share port {said.port}", "Leave it out.", param="port")
    return said


def server_url(text: str, where: str) -> str:
    """Return the URL after which the routes of the API follow: `/v1` where it names no path; raises ConfigInvalid."""
    parts = server_parts(text)
    if parts is None:
        raise ConfigInvalid(
            f"{where}: {text!r} is no URL of a server", "For example: openai:http://HOST:8000,model=NAME"
        )
    if "@" in parts.netloc:
        raise ConfigInvalid(f"{where}: a URL is no place for a password", "Use key_env=VARIABLE.", param="target")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def _demand(settings: EngineSettings, where: str) -> Demand:
    labels: dict[str, str] = {}
    for label in settings.labels:
        name, equals, value = label.partition("=")
        if not (name and equals):
            raise ConfigInvalid(f"{where}: {label!r} is not NAME=VALUE", "For example: zone=a", param="labels")
        labels[name] = value
    if settings.gpu_type and not (settings.gpus or settings.gpu_memory_bytes):
        what = f"{where}: gpu_type={settings.gpu_type} asks for no GPU"
        do = "Say also how much of one: gpus=1, gpus=0.5 or gpu_memory_bytes=8589934592."
        raise ConfigInvalid(what, do, param="gpu_type")
    return Demand(
        settings.cpus,
        settings.gpus,
        settings.memory_bytes,
        settings.gpu_memory_bytes,
        settings.gpu_type,
        labels_from_mapping(labels),
        settings.anti_affinity,
    )


def engine_ids(spec: EngineSpec) -> tuple[EngineId, ...]:
    """Return the id of each replica: the spec's name, numbered where there are several."""
    if spec.replicas == 1:
        return (EngineId(spec.name),)
    return tuple(EngineId(f"{spec.name}-{number}") for number in range(1, spec.replicas + 1))


def _catalogued_kinds(target: str, where: str) -> tuple[Kind, ...]:
    try:
        return entry_of(target).kinds
    except UnknownModel as error:
        raise UnknownModel(f"{where}: {error.what}", error.do, param="model") from error


def _wanted(kinds: tuple[Kind, ...], roles: tuple[Role, ...], where: str) -> tuple[Kind, ...]:
    for role in roles:
        if not set(_KINDS_OF_ROLE[role]) <= set(kinds):
            can = " and ".join(kinds)
            raise ConfigInvalid(f"{where}: its model cannot take the role {role}", f"It can {can}.", param="role")
    wanted = {kind for role in roles for kind in _KINDS_OF_ROLE[role]}
    return tuple(kind for kind in kinds if not roles or kind in wanted)


def _known(word: str, words: dict[str, V], where: str, noun: str) -> V:
    if word in words:
        return words[word]
    raise ConfigInvalid(f"{where}: no {noun} is named {word!r}", _suggestion(word, words), param=noun)


def _suggestion(word: str, words: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"Did you mean {nearest[0]}?" if nearest else f"Known: {', '.join(words)}."
