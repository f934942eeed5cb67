"""When the first token of a request without a deadline is due: by its class, and by its prompt. Pure."""

from dataclasses import dataclass, field

from sage.base.inference import ServiceClass
from sage.base.settings import PlaneSettings

_NUM_STEPS = {ServiceClass.INTERACTIVE: 4.0, ServiceClass.STANDARD: 30.0, ServiceClass.BATCH: 30.0}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds after its arrival for each class, and the prompt tokens that add a second to them (by default the
    objectives of `findings`: 2 s + prompt / 8k s).

    `of`: the seconds by class; `steps`: what is due within so many seconds of a class counts together.
    """

    interactive_s: float = 2.0
    standard_s: float = 30.0
    batch_s: float = 600.0
    prompt_tokens_per_s: float = 8_000.0
    of: dict[ServiceClass, float] = field(init=False, repr=False, compare=False)
    steps: dict[ServiceClass, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seconds = (self.interactive_s, self.standard_s, self.batch_s)
        of = dict(zip((ServiceClass.INTERACTIVE, ServiceClass.STANDARD, ServiceClass.BATCH), seconds, strict=True))
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "steps", {each: of[each] / num for each, num in _NUM_STEPS.items()})


USUAL = Patience()


def patience_from_settings(settings: PlaneSettings) -> Patience:
    """Return what a `[plane]` table says."""
    return Patience(settings.interactive_s, settings.standard_s, settings.batch_s, settings.prompt_tokens_per_s)
