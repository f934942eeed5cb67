"""Tenants as ServeGen describes them: windows of rate and shape of arrivals, and distributions of lengths.

ServeGen (Alibaba, 2025) keeps two files a client: `chunk-N-trace.csv` has rows of start in seconds, requests a second,
their variation, and the family, shape and scale of the time between two; `chunk-N-dataset.json` has, for every six
hours, how often which length occurs. Requests are drawn from them by a seed. No prefixes are known.
"""

import ast
import csv
import io
import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from benchmarks.simulator.arrival import Arrival, Trace, trace_of
from sage.base.errors import SourceUnreadable

WINDOW_S = 600.0
_KINDS = ("trace.csv", "dataset.json")


@dataclass(frozen=True, slots=True)
class Pace:
    """How requests of a client follow each other from `start_s` on, for WINDOW_S."""

    start_s: float
    per_s: float
    family: str
    shape: float
    scale: float

    def gap_s(self, rng: Random) -> float:
        """Draw the seconds between two requests."""
        match self.family:
            case "Gamma":
                return rng.gammavariate(self.shape, self.scale)
            case "Weibull":
                return rng.weibullvariate(self.scale, self.shape)
            case _:
                return rng.expovariate(self.per_s)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How often which number of tokens occurs."""

    values: tuple[int, ...]
    sums: tuple[float, ...]

    def draw(self, rng: Random) -> int:
        at = bisect_right(self.sums, rng.random() * self.sums[-1])
        return max(1, self.values[min(at, len(self.values) - 1)])


@dataclass(frozen=True, slots=True)
class Client:
    """One tenant. `prompts` and `answers` are by when their six hours begin, empty ones left out."""

    name: str
    paces: tuple[Pace, ...]
    prompts: Mapping[float, Lengths]
    answers: Mapping[float, Lengths]

    def arrivals(self, from_s: float, until_s: float, rng: Random) -> Iterator[Arrival]:
        """Draw what it asks for within this time."""
        for pace in self.paces:
            if pace.start_s + WINDOW_S <= from_s or pace.start_s >= until_s or pace.per_s <= 0.0:
                continue
            prompts, answers = _at(self.prompts, pace.start_s), _at(self.answers, pace.start_s)
            if prompts is None or answers is None:
                continue
            at_s = pace.start_s + pace.gap_s(rng) * rng.random()
            while at_s < min(pace.start_s + WINDOW_S, until_s):
                if at_s >= from_s:
                    yield Arrival(at_s, prompts.draw(rng), answers.draw(rng), tenant=self.name)
                at_s += max(pace.gap_s(rng), 1e-6)


def servegen_trace(name: str, path: Path, num: int, *, seed: int) -> Trace:
    """Return `num` requests of all clients from the busiest window of the archive on.

    Raises SourceUnreadable where the archive is absent or no such archive.
    """
    clients = read_clients(path)
    rng = Random(seed)
    per_s: dict[float, float] = {}
    for client in clients:
        for pace in client.paces:
            if _at(client.prompts, pace.start_s) and _at(client.answers, pace.start_s):
                per_s[pace.start_s] = per_s.get(pace.start_s, 0.0) + pace.per_s
    if not per_s or max(per_s.values()) <= 0.0:
        raise SourceUnreadable(f"{path} holds no client that asks for anything", "Use an archive of ServeGen's.")
    busiest_s = max(per_s, key=lambda start_s: (per_s[start_s], -start_s))
    lasts_s = 1.5 * num / per_s[busiest_s]
    drawn = [each for client in clients for each in client.arrivals(busiest_s, busiest_s + lasts_s, rng)]
    return trace_of(name, drawn).first(num)


def read_clients(path: Path) -> list[Client]:
    """Return the clients of an archive, in order of their names; raises SourceUnreadable."""
    files: dict[str, dict[str, bytes]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                client, _, kind = Path(member.name).name.rpartition("-")
                file = archive.extractfile(member) if kind in _KINDS else None
                if file is not None:
                    files.setdefault(client, {})[kind] = file.read()
        whole = {name: found for name, found in sorted(files.items()) if len(found) == len(_KINDS)}
        return [_client(name, found) for name, found in whole.items()]
    except (OSError, tarfile.TarError, ValueError, SyntaxError, LookupError) as error:
        raise SourceUnreadable(
            f"cannot read ServeGen's clients of {path}: {error}", "Set SAGE_DATA to a folder that holds traces/."
        ) from error


def _client(name: str, files: Mapping[str, bytes]) -> Client:
    rows = csv.reader(io.StringIO(files["trace.csv"].decode()))
    paces = tuple(
        Pace(float(row[0]), float(row[1]), row[3], *(float(value) for value in row[4:6]))
        for row in rows
        if len(row) > 5
    )
    lengths = json.loads(files["dataset.json"])
    return Client(name, paces, _by_start(lengths, "input_tokens"), _by_start(lengths, "output_tokens"))


def _by_start(lengths: Mapping[str, Mapping[str, str]], kind: str) -> dict[float, Lengths]:
    found = {float(start): ast.literal_eval(each[kind]) for start, each in lengths.items()}
    return {
        start_s: Lengths(tuple(map(int, shares)), tuple(accumulate(shares.values())))
        for start_s, shares in found.items()
        if shares
    }


def _at(by_start: Mapping[float, Lengths], start_s: float) -> Lengths | None:
    """Return what holds at `start_s`: of the six hours that it lies in."""
    return by_start.get(start_s - start_s % 21_600.0)
