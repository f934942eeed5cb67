"""What a user of `sage-benchmark policies` asks for, as a value. Knows nothing of how it is simulated."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.mix import Mix, TextsBeside, text_of_mix


class TraceName(StrEnum):
    """What is replayed."""

    AZURE_CODE = "azure-code"
    AZURE_CONVERSATION = "azure-conversation"
    MOONCAKE_CONVERSATION = "mooncake-conversation"
    MOONCAKE_SYNTHETIC = "mooncake-synthetic"
    SERVEGEN = "servegen"
    SERVEGEN_REASONING = "servegen-reasoning"
    GENERATED = "generated"
    TWO_TENANTS = "two-tenants"
    AGENT_GRAPHS = "agent-graphs"
    ADAPTERS = "adapters"


class Profile(StrEnum):
    """Which simulated engine it is replayed on."""

    CPU2 = "cpu2"
    A100 = "a100"
    H100 = "h100"


class Prompts(StrEnum):
    """How many prompts an engine is given before it has worked off what it has: all, or what keeps it fast."""

    FIXED = "fixed"
    ADAPTIVE = "adaptive"


class Shedding(StrEnum):
    """Whether what would begin after it is due is refused at the door."""

    NONE = "none"
    DEADLINE = "deadline"


class Sharing(StrEnum):
    """When texts beside chat may be embedded on its device (`cluster.serving.sharing`)."""

    GATED = "gated"
    PINNED = "pinned"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class TextsWanted:
    """Texts to embed on the devices of chat."""

    beside: TextsBeside
    sharing: Sharing = Sharing.GATED


@dataclass(frozen=True, slots=True)
class PoliciesWanted:
    """Each policy with each route. `load` 1 is the rate at which the engines just get through all that comes.

    `mix`: shares of the requests that are of each class; None: all as the trace has them. `with_interference`: tenants
    are replayed in pairs too. `find_load`: the share of good requests for which the highest load is looked for; `loads`
    is empty then. `windows`: sequences given to one engine at once, each in a replay of its own; empty: as many as it
    takes. `texts`: what is embedded on the devices of chat.
    """

    traces: tuple[TraceName, ...]
    policies: tuple[str, ...]
    routes: tuple[str, ...]
    admission: Shedding
    num_engines: tuple[int, ...]
    loads: tuple[float, ...]
    profile: Profile
    seed: int
    num_seeds: int
    windows: tuple[int, ...]
    limit: int | None
    prompts: tuple[Prompts, ...] = (Prompts.ADAPTIVE,)
    mix: Mix | None = None
    with_interference: bool = False
    find_load: float | None = None
    texts: TextsWanted | None = None

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> wanted = PoliciesWanted((TraceName.GENERATED,), ("fifo",), ("auto",), Shedding.NONE, (4,), (1.2,),
        ...                         Profile.H100, 7, 1, (), 100)
        >>> print(wanted.command())
        sage-benchmark policies --trace generated --policy fifo --route auto --admission none --engines 4 --load 1.2 \
--profile h100 --seed 7 --seeds 1 --prompts adaptive --limit 100
        >>> from dataclasses import replace
        >>> "--load 1.2" in replace(wanted, find_load=0.95).command()
        False
        """
        words = ["sage-benchmark policies"]
        words += [f"--trace {name}" for name in self.traces]
        words += [f"--policy {name}" for name in self.policies]
        words += [f"--route {name}" for name in self.routes]
        words += [f"--admission {self.admission}"]
        words += [f"--engines {num}" for num in self.num_engines]
        words += [f"--load {load:g}" for load in self.loads if self.find_load is None]
        words += [f"--profile {self.profile} --seed {self.seed} --seeds {self.num_seeds}"]
        words += [f"--prompts {prompts}" for prompts in self.prompts]
        words += [] if self.mix is None else [f"--mix {text_of_mix(self.mix)}"]
        words += ["--interference"] if self.with_interference else []
        words += [] if self.find_load is None else [f"--find-load {self.find_load:g}"]
        words += [f"--window {window}" for window in self.windows]
        words += [] if self.texts is None else [f"--texts {self.texts.beside} --sharing {self.texts.sharing}"]
        words += [] if self.limit is None else [f"--limit {self.limit}"]
        return " ".join(words)
