"""What a user of `sage-benchmark live` asks for, as a value. Knows nothing of how it is measured."""

import shlex
from dataclasses import dataclass

from benchmarks.policies_wanted import Prompts, Shedding, TraceName
from sage.base.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class LiveSetup:
    """By what the plane orders requests, chooses engines, and keeps prompts here."""

    policy: str
    route: str
    prompts: Prompts

    def __str__(self) -> str:
        return f"{self.policy}+{self.route}+{self.prompts}"


def setup_from_text(text: str) -> LiveSetup:
    """Return the set-up that `POLICY+ROUTE+WINDOW` names; raises ConfigInvalid.

    >>> str(setup_from_text("fifo+least_work+fixed"))
    'fifo+least_work+fixed'
    """
    parts = text.split("+")
    if len(parts) != 3 or parts[2] not in tuple(Prompts) or not all(parts):
        what = f"{text!r} is no set-up: POLICY+ROUTE+WINDOW, the window {' or '.join(Prompts)}"
        raise ConfigInvalid(what, "For example: hybrid+auto+adaptive", param="setup")
    return LiveSetup(parts[0], parts[1], Prompts(parts[2]))


@dataclass(frozen=True, slots=True)
class LiveWanted:
    """Each set-up at each load, in turns, `num_rounds` times, over `num_engines` of `engine` (as on a command line).

    The first set-up is the one that the others are compared with. Of the trace, whole conversations of `num_requests`
    in all are drawn, and `lengths` is the share that is kept of each request's tokens; the first `num_warm` are not
    counted. `patience`: first tokens are due after so many times what they take without load, and tokens likewise.
    """

    trace: TraceName
    engine: str
    num_engines: int
    setups: tuple[LiveSetup, ...]
    loads: tuple[float, ...]
    admission: Shedding = Shedding.DEADLINE
    num_requests: int = 100
    num_warm: int = 20
    lengths: float = 0.1
    patience: float = 5.0
    num_rounds: int = 5
    seed: int = 7

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> setups = (setup_from_text("hybrid+auto+adaptive"), setup_from_text("fifo+least_work+fixed"))
        >>> print(LiveWanted(TraceName.GENERATED, "openvino:smollm2", 2, setups, (1.2, 2.0)).command())
        sage-benchmark live generated --engine openvino:smollm2 --engines 2 --setup hybrid+auto+adaptive \
--setup fifo+least_work+fixed --load 1.2 --load 2 --admission deadline --requests 100 --warm 20 --lengths 0.1 \
--patience 5 --rounds 5 --seed 7
        """
        words = [f"sage-benchmark live {self.trace} --engine {shlex.quote(self.engine)} --engines {self.num_engines}"]
        words += [f"--setup {setup}" for setup in self.setups]
        words += [f"--load {load:g}" for load in self.loads]
        words += [f"--admission {self.admission} --requests {self.num_requests} --warm {self.num_warm}"]
        words += [
            f"--lengths {self.lengths:g} --patience {self.patience:g} --rounds {self.num_rounds} --seed {self.seed}"
        ]
        return " ".join(words)
