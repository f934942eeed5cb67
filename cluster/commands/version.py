"""Print the versions of sage-engine and Python. Knows nothing else."""

import platform

from cluster.commands.show import Json, print_json


def version(json: Json = False) -> None:
    """Print the versions of sage-engine and Python."""
    from importlib.metadata import version as version_of

    found = {"sage-engine": version_of("sage-engine"), "python": platform.python_version()}
    if json:
        print_json(found)
    else:
        print("\n".join(f"{name} {number}" for name, number in found.items()))
