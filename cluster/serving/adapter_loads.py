"""How long engines that are alike take to load an adapter (LoRA), learned. Pure; knows no engine and no queue."""

from dataclasses import dataclass

ASSUMED_TOKENS = 1_000.0
"""Prompt tokens in whose time an adapter is loaded, as long as none was seen to be."""

STAY_LOADS = 4.0
"""An adapter that others wait for stays in its slot until so many times its loading was worked for it: loading takes no
more than a fifth of an engine's time."""

TIMES_IF_OUT_GOES = 16.0
"""What loading counts where another adapter loses its slot by it, and will have to be loaded again: with 4 a quarter
more is loaded and up to 4 % of the good requests are lost (rough, simulated: 32 adapters, four H100 engines)."""

_KEEP = 0.95  # of the means with each that was seen: about the last twenty count


@dataclass(slots=True)
class AdapterLoads:
    """Means that forget: seconds a load, and prompt tokens a second beside."""

    _load_s: float = 0.0
    _num_loads: float = 0.0
    _tokens: float = 0.0
    _took_s: float = 0.0

    def saw_load(self, more_s: float) -> None:
        """Note by how much longer than foretold a prompt took whose adapter was loaded."""
        self._load_s = _KEEP * self._load_s + more_s
        self._num_loads = _KEEP * self._num_loads + 1.0

    def saw_prompt(self, tokens: int, took_s: float) -> None:
        """Note how long a prompt took whose adapter was ready."""
        self._tokens = _KEEP * self._tokens + tokens
        self._took_s = _KEEP * self._took_s + took_s

    @property
    def seconds(self) -> float:
        """How long a load takes; 0 while none was seen."""
        return max(0.0, self._load_s / self._num_loads) if self._num_loads else 0.0

    @property
    def tokens(self) -> float:
        """The prompt tokens that are worked off in as long as a load takes."""
        if not (self._num_loads and self._took_s > 0.0):
            return ASSUMED_TOKENS
        return self.seconds * self._tokens / self._took_s

    @property
    def stay(self) -> float:
        """The work for which an adapter stays in its slot."""
        return STAY_LOADS * self.tokens
