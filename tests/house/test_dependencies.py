"""Ranges in setup.cfg, exact versions in constraints.txt: they belong together, and no index is named."""

import configparser
import re
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.sources import ROOT

EXACT = [Requirement(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]


def _ranges() -> Iterator[Requirement]:
    """Yield what setup.cfg asks for; vLLM is not pinned, as it brings its own pins into an environment of its own."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for text in (config["options"]["install_requires"], *(config["options.extras_require"].values())):
        yield from (r for r in map(Requirement, filter(None, text.splitlines())) if r.name != "vllm")


def test_every_range_has_an_exact_version_within_it() -> None:
    missing = [str(wanted) for wanted in _ranges() if not any(_fits(exact, wanted) for exact in EXACT)]
    assert not missing, "run: make constraints"


def _fits(exact: Requirement, wanted: Requirement) -> bool:
    version = next(iter(exact.specifier)).version
    return canonicalize_name(exact.name) == canonicalize_name(wanted.name) and version in wanted.specifier


def test_the_core_has_at_most_fifteen_direct_dependencies() -> None:
    """Each is one more that can be taken over."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert len(list(filter(None, config["options"]["install_requires"].splitlines()))) <= 15


def test_every_exact_version_is_one() -> None:
    assert not [str(exact) for exact in EXACT if [s.operator for s in exact.specifier] != ["=="]]


def test_no_index_is_named() -> None:
    """Which registry is used is the user's choice."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("constraints.txt", "setup.cfg")]
    assert not [
        line for text in texts for line in text.splitlines() if re.search(r"://|--(extra-)?index|find-links ", line)
    ]


def test_ranges_are_open_above() -> None:
    """A cap here would bind whoever installs us beside something else."""
    assert not [
        str(wanted) for wanted in _ranges() if any(s.operator in ("<", "<=", "==", "~=") for s in wanted.specifier)
    ]
