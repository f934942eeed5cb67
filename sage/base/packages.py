"""Whether the packages that Python finds under our names are ours. Knows nothing of what is in them.

`sage` is also SageMath's name and `cluster` also another distribution's: the one found first on the path wins.
"""

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from sage.base.errors import PackageShadowed

PACKAGES = ("sage", "operators", "cluster", "gateway", "benchmarks")


def check_packages() -> None:
    """Raise PackageShadowed, naming each place, where a package of ours is hidden by another of its name."""
    home = Path(__file__).parents[2]
    found = {name: place_of(find_spec(name)) for name in PACKAGES}
    foreign = [f"{name} is {place}" for name, place in found.items() if place != home / name]
    if foreign:
        raise PackageShadowed(
            f"{'; '.join(foreign)}: not part of {home}",
            "Uninstall the other distribution, or install sage-engine in a virtual environment of its own.",
        )


def place_of(spec: ModuleSpec | None) -> Path | None:
    """Return the folder of a package, None where it is absent or no folder."""
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
