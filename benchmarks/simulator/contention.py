"""How chat and embeddings that run at once on one device slow each other. Knows no request and no clock.

As shares of what each does with the device to itself, by how many workers embed. Where nothing was measured there is
none: such a device cannot be simulated with texts beside chat.
"""

from dataclasses import dataclass

from sage.base.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Beside:
    """Some workers beside chat. `decode`, `read`: times as long as alone an iteration takes that only decodes, and one
    that reads prompts too. `rate`: of each worker, as a share of a worker with nothing beside it."""

    decode: float
    read: float
    rate: float


@dataclass(frozen=True, slots=True)
class Contention:
    """A device with `num_cpus` CPUs. `at_par[k - 1]`: with k workers of chat's priority; `meek`: with one that takes
    only what nobody else wants."""

    num_cpus: int
    at_par: tuple[Beside, ...]
    meek: Beside

    def beside(self, num_at_par: int, num_meek: int) -> Beside | None:
        """Return what that many workers at once are to chat; None where there is none."""
        if num_at_par:
            return self.at_par[min(num_at_par, len(self.at_par)) - 1]
        return self.meek if num_meek else None


# Two x86-64 cores, OpenVINO, SmolLM2-135M on two threads and MiniLM int8 on one a worker. Fitted to what
# `sage-benchmark cosched` measured of `gated`, `pinned_apart` and `nice_0` at the lowest and the highest load
# (benchmarks/results/cosched.json): `decode` by the medians between two tokens, the others so that the shares of chat
# and of embeddings come out. At the load between, which nothing was fitted to, chat is within 3 % and embeddings within
# 7 % of what was measured; at the lowest, gated and pinned embed 18 and 19 % too much.
_CPU2 = Contention(num_cpus=2, at_par=(Beside(1.24, 1.8, 1.0), Beside(1.7, 2.5, 0.43)), meek=Beside(1.07, 1.0, 0.8))
_KNOWN = {"cpu2": _CPU2}


def contention_of(profile: str) -> Contention:
    """Return how chat and embeddings share the device of a cost model.

    Raises ConfigInvalid where that was not measured.

    >>> contention_of("cpu2").num_cpus
    2
    """
    if profile not in _KNOWN:
        raise ConfigInvalid(
            f"how chat and embeddings share the device of {profile!r} was not measured, so it is not simulated",
            f"Take one of {', '.join(_KNOWN)}, or leave the texts away.",
            param="profile",
        )
    return _KNOWN[profile]
