"""Every setting there is: one typed schema with defaults. Knows neither where values are read nor who uses them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FULL_DISK_S = 3_600.0


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    batch_records: Annotated[int, Meta(ge=1, description="records that travel together between two steps")] = 1000
    inbox_batches: Annotated[int, Meta(ge=1, description="batches that wait before a task; then its senders wait")] = 8
    stop_timeout_s: Annotated[float, Meta(gt=0, description="seconds for everything to end after a cancel")] = 2.0
    full_disk_s: Annotated[
        float, Meta(ge=0, description="seconds that a job waits, paused, for room on a full disk; then it fails")
    ] = FULL_DISK_S


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    labels: Annotated[
        str,
        Meta(
            pattern=r"^$|^[^=,]+=[^=,]*(,[^=,]+=[^=,]*)*$",
            description="names and values that steps may ask for by `with_resources(labels=)`: `zone=a,disk=ssd`",
        ),
    ] = ""
    code_dirs: Annotated[
        str,
        Meta(description="folders of flows that others may name to this node, with `:` between; none: where it began"),
    ] = ""


class JobsSettings(msgspec.Struct, frozen=True, kw_only=True):
    placement: Annotated[
        Literal["spread", "pack"], Meta(description="which node is taken first: the emptiest, or the fullest that does")
    ] = "spread"
    max_restarts: Annotated[
        int, Meta(ge=0, description="how often a job begins anew after it lost a node, or the head ended")
    ] = 3
    wait_for_room_s: Annotated[
        float, Meta(ge=0, description="seconds that a job which begins anew waits for nodes with room for it")
    ] = 60.0
    letters_dir: Annotated[
        str | None,
        Meta(description="folder of dead letters for `sage replay`; empty: they are not kept; none: the user's state"),
    ] = None


class PlaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    policy: Annotated[
        str, Meta(description="order of waiting requests: `fifo`, `priority`, `edf`, `dlpm`, `hybrid`")
    ] = "hybrid"
    route: Annotated[
        str,
        Meta(description="which engine takes a request: `round_robin`, `least_work`, `session`, `prefix`, `auto`"),
    ] = "auto"
    admission: Annotated[
        str, Meta(description="`deadline` refuses at the door what would begin after it is due; `none` lets all wait")
    ] = "none"
    window: Annotated[
        Literal["fixed", "adaptive"],
        Meta(
            description="`adaptive` gives an engine no more prompts than keep it fast, `fixed` all that it has room for"
        ),
    ] = "adaptive"
    interactive_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="seconds in which the first token of an interactive request is due; its prompt adds to it",
        ),
    ] = 2.0
    standard_s: Annotated[float, Meta(gt=0, le=1e6, description="the same, of a standard request")] = 30.0
    batch_s: Annotated[float, Meta(gt=0, le=1e6, description="the same, of a batch request")] = 600.0
    prompt_tokens_per_s: Annotated[
        float, Meta(gt=0, description="prompt tokens that add a second to when a first token is due")
    ] = 8_000.0
    max_waiting: Annotated[int, Meta(ge=1, description="requests that wait at most; more are refused")] = 4096
    vector_cache_bytes: Annotated[
        int, Meta(ge=0, description="memory for vectors of texts embedded before, each tenant's for itself; 0: none")
    ] = 64 * 1024 * 1024


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0: any free one")] = 8000
    keys_file: Annotated[
        str | None, Meta(description="file of the keys that callers need; none: in the user's configuration")
    ] = None
    admin_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        Meta(description="port of the administration, on this machine alone; none: there is none"),
    ] = None
    max_body_bytes: Annotated[int, Meta(ge=1, description="longest request body taken")] = 4 * 1024 * 1024


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    max_open: Annotated[
        int, Meta(ge=1, description="requests that a flow answers at a time, as a model; more are refused")
    ] = 256
    max_turn_s: Annotated[float, Meta(gt=0, description="seconds until a flow must have answered a request")] = 600.0
    max_answer_bytes: Annotated[int, Meta(ge=1, description="longest answer of a flow to one request")] = 1024 * 1024


class ModelsSettings(msgspec.Struct, frozen=True, kw_only=True):
    chat: Annotated[str, Meta(description="chat model where none is named")] = "smollm2"
    embed: Annotated[str, Meta(description="embedding model where none is named")] = "minilm"
    cache_dir: Annotated[str | None, Meta(description="where model files are kept; none: the user's cache")] = None


class EnvironmentsSettings(msgspec.Struct, frozen=True, kw_only=True):
    dir: Annotated[
        str | None, Meta(description="where `sage engines install` puts environments; none: the user's data folder")
    ] = None


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    keys_dir: Annotated[
        str | None, Meta(description="folder of the keys of each cluster; none: the user's configuration")
    ] = None
    state_dir: Annotated[
        str | None, Meta(description="folder of each cluster's journal of jobs; none: the user's state folder")
    ] = None
    reconnect_s: Annotated[
        float, Meta(ge=0, description="seconds that clients with a job, and a head, wait for each other after a break")
    ] = 30.0


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="least severe event shown")] = (
        "warning"
    )
    format: Annotated[Literal["console", "json"], Meta(description="one line an event, for people or for programs")] = (
        "console"
    )


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, description="name of the engine, unique")]
    kind: Annotated[str, Meta(min_length=1, description="adapter: `openvino`, `vllm`, `openai`, `simulated`")]
    model: Annotated[str, Meta(min_length=1, description="model it serves")]
    target: Annotated[
        str | None, Meta(description="`simulated`: its profile; `openvino`, `vllm`: which model it loads, or a folder")
    ] = None
    url: Annotated[str | None, Meta(description="`openai`: where its server is, as `http://host:8000/v1`")] = None
    devices: Annotated[
        tuple[str, ...], Meta(min_length=1, description="what it runs on: `CPU`; GPUs are asked for by `gpus`")
    ] = ("CPU",)
    replicas: Annotated[int, Meta(ge=1, description="how many of it are started")] = 1
    roles: Annotated[
        tuple[Literal["chat", "embedding", "rerank"], ...],
        Meta(description="`chat`, `embedding`, `rerank`; none: what the model can do"),
    ] = ()
    cpus: Annotated[float, Meta(ge=0, description="CPUs that are kept for it on its node")] = 0.0
    memory_bytes: Annotated[int, Meta(ge=0, description="main memory that is kept for it")] = 0
    gpus: Annotated[float, Meta(ge=0, description="GPUs that are its own; 0.5: half of one")] = 0.0
    gpu_memory_bytes: Annotated[int, Meta(ge=0, description="memory on each of its GPUs")] = 0
    gpu_type: Annotated[str, Meta(description="what the name of its GPUs holds: `h100`")] = ""
    labels: Annotated[tuple[str, ...], Meta(description="labels that its node must have: `zone=a`")] = ()
    anti_affinity: Annotated[bool, Meta(description="whether each replica has a node without another of it")] = False
    max_iteration_s: Annotated[
        float, Meta(gt=0, description="seconds an iteration of it may last; then it counts as hung and is started anew")
    ] = 10.0
    start_timeout_s: Annotated[
        float, Meta(ge=0, description="seconds until it must be ready; 0: 600 for `vllm`, 120 for others")
    ] = 0.0
    key_env: Annotated[
        str, Meta(description="`openai`: environment variable that holds the server's key; none: no key is sent")
    ] = ""
    max_running: Annotated[
        int, Meta(ge=1, description="`openai`, `vllm`: requests that the server is given at once")
    ] = 64
    context_tokens: Annotated[
        int, Meta(ge=0, description="`openai`, `vllm`: how long the model's context is; 0: as the server says")
    ] = 0
    max_silence_s: Annotated[
        float, Meta(gt=0, description="`openai`, `vllm`: seconds that the server may be silent amid an answer")
    ] = 120.0
    gives_back: Annotated[
        bool | None,
        Meta(
            description="`openai`, `vllm`: whether its server stops a request whose connection is closed before the"
            " first token, so that one of class batch may give its place to an urgent one; none: `vllm` does"
        ),
    ] = None
    port: Annotated[
        int, Meta(ge=0, le=65535, description="`vllm`: port of its server on this machine; 0: any free one")
    ] = 0
    python: Annotated[
        str, Meta(description="`vllm`: Python that has it; none: of the environment that `sage engines install` made")
    ] = ""
    kv_cache_bytes: Annotated[
        int, Meta(ge=0, description="`vllm`: memory for keys and values; 0: 4 GiB on CPUs, on GPUs as vLLM thinks best")
    ] = 0
    adapters: Annotated[
        dict[str, str],
        Meta(
            description="`vllm`: LoRA adapters of its model, by the name that requests ask for: the folder of each;"
            ' `openai`, which lists them, and `simulated`: names alone, `{sql = ""}`'
        ),
    ] = msgspec.field(default_factory=dict)
    adapter_slots: Annotated[
        int,
        Meta(
            ge=0,
            description="`vllm`, `openai`, `simulated`: adapters that are ready at once, others are loaded when asked"
            " for; 0: 4 at most for `vllm` and `simulated`, no limit for `openai`",
        ),
    ] = 0
    sharing: Annotated[
        Literal["auto", "gated", "alternating", "pinned", "off"],
        Meta(description="how embeddings give way to chat on their device; `auto`: by load and target"),
    ] = "auto"
    itl_target_ms: Annotated[
        float, Meta(ge=0, description="p99 between two tokens that chat may have beside embeddings; 0: as it has alone")
    ] = 0.0
    max_held_ms: Annotated[
        float, Meta(ge=0, description="how long a text is held back for chat at most; 0: 60, 1000, 5000 by class")
    ] = 0.0


_Limit = Annotated[int, Meta(ge=1)]


class TenantSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, description="tenant whom this holds for; `*`: each that is not named")]
    tokens_per_minute: Annotated[
        _Limit | None,
        Meta(description="tokens of prompts and answers; as many at once, then at this rate; none: no limit"),
    ] = None
    requests_per_minute: Annotated[
        _Limit | None,
        Meta(
            description="requests; as many at once, then at this rate; a list of texts that travels in parts is one; "
            "none: no limit"
        ),
    ] = None
    budget_tokens: Annotated[
        _Limit | None, Meta(description="tokens of prompts and answers in each `budget_period`; none: no limit")
    ] = None
    budget_period: Annotated[
        Literal["hour", "day", "month"], Meta(description="of the calendar, by UTC: how often a budget begins anew")
    ] = "month"
    max_waiting: Annotated[
        _Limit | None, Meta(description="requests of it that wait for engines at most; none: as many as may")
    ] = None
    weight: Annotated[
        float, Meta(gt=0, description="its share beside others in the policies `dlpm` and `hybrid`; 2: twice theirs")
    ] = 1.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting there is. A section is a table of sage.toml; `engines` and `tenants` are its `[[engine]]` and
    `[[tenant]]` tables."""

    runtime: RuntimeSettings = RuntimeSettings()
    node: NodeSettings = NodeSettings()
    jobs: JobsSettings = JobsSettings()
    plane: PlaneSettings = PlaneSettings()
    gateway: GatewaySettings = GatewaySettings()
    chat: ChatSettings = ChatSettings()
    models: ModelsSettings = ModelsSettings()
    environments: EnvironmentsSettings = EnvironmentsSettings()
    cluster: ClusterSettings = ClusterSettings()
    log: LogSettings = LogSettings()
    engines: tuple[EngineSettings, ...] = ()
    tenants: tuple[TenantSettings, ...] = ()


class Setting(msgspec.Struct, frozen=True):
    """One key of the schema, for checks and for whoever shows it. `type` is what a value must convert to."""

    section: str
    key: str
    type: object
    default: object
    description: str

    @property
    def name(self) -> str:
        """As in sage.toml and among flags: `gateway.port`."""
        return f"{self.section}.{self.key}"

    @property
    def env_name(self) -> str:
        """As in the environment: `SAGE_GATEWAY_PORT`."""
        return f"SAGE_{self.section}_{self.key}".upper()


def schema() -> tuple[Setting, ...]:
    """Return every setting of every section, in order; `[[engine]]` and `[[tenant]]` tables apart."""
    sections = [field for field in msgspec.structs.fields(Settings) if field.name not in ("engines", "tenants")]
    return tuple(setting for section in sections for setting in _settings_of(section.name, section.type))


def engine_schema() -> tuple[Setting, ...]:
    """Return the keys of an `[[engine]]` table; the default of one that must be given is `msgspec.NODEFAULT`."""
    return _settings_of("engine", EngineSettings)


def tenant_schema() -> tuple[Setting, ...]:
    """Return the keys of a `[[tenant]]` table, as `engine_schema` does."""
    return _settings_of("tenant", TenantSettings)


def _settings_of(section: str, struct: type[msgspec.Struct]) -> tuple[Setting, ...]:
    fields = msgspec.structs.fields(struct)
    return tuple(Setting(section, f.name, f.type, _default(f), f.type.__metadata__[0].description) for f in fields)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
