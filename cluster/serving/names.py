"""What is said of a name that is none of those there are. Knows nothing of what the names stand for."""

import difflib
from collections.abc import Sequence

from sage.base.errors import UnknownPolicy


def unknown(what: str, name: str, names: Sequence[str], *, plural: str, param: str) -> UnknownPolicy:
    """Return the error of a `what` that nobody knows by `name`: the nearest of `names`, where one is near, and all."""
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return UnknownPolicy(f"no {what} is called {name!r}", f"{guess}The {plural} are: {', '.join(names)}.", param=param)
