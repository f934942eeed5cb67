"""The events of Nexmark's queries, and the user functions over them. Imports nothing of SAGE: rivals read it too.

Events are tuples: ("person", time_s, id, name, state), ("auction", time_s, id, seller, category),
("bid", time_s, auction, bidder, price).
"""

from random import Random
from typing import Any

Event = tuple[Any, ...]

PERIOD_S = 0.002
STATES = ("OR", "ID", "CA", "WA", "NY", "TX")
WANTED_STATES = frozenset(("OR", "ID", "CA"))
CATEGORY = 10
EUROS = 0.908
HOT_S, HOT_EVERY_S = 10, 2
BEST_S = 10


def auctions(num_records: int, *, seed: int) -> list[Event]:
    """Return an event every 2 ms, in order: of 50, one person, three auctions, and bids on what is young."""
    rng = Random(seed)
    events: list[Event] = []
    num_persons = num_auctions = 0
    for number in range(num_records):
        time_s, kind = number * PERIOD_S, number % 50
        if kind == 0:
            events.append(("person", time_s, num_persons, f"name{num_persons}", rng.choice(STATES)))
            num_persons += 1
        elif kind < 4:
            seller, category = rng.randrange(max(1, num_persons)), rng.randrange(8, 13)
            events.append(("auction", time_s, num_auctions, seller, category))
            num_auctions += 1
        else:
            auction = rng.randrange(max(0, num_auctions - 100), max(1, num_auctions))
            events.append(("bid", time_s, auction, rng.randrange(max(1, num_persons)), rng.randrange(1, 100_000)))
    return events


def is_bid(event: Event) -> bool:
    return bool(event[0] == "bid")


def is_wanted(event: Event) -> bool:
    """Say whether a person is of a wanted state, or an auction of the category."""
    return bool(
        (event[0] == "person" and event[4] in WANTED_STATES) or (event[0] == "auction" and event[4] == CATEGORY)
    )


def time_of(event: Event) -> float:
    time_s: float = event[1]
    return time_s


def auction_of(event: Event) -> int:
    auction: int = event[2]
    return auction


def person_of(event: Event) -> int:
    """Return the person, or the seller of an auction."""
    person: int = event[2] if event[0] == "person" else event[3]
    return person


def price_of(event: Event) -> int:
    price: int = event[4]
    return price


def in_euros(event: Event) -> float:
    euros: float = event[4] * EUROS
    return euros


def everything(event: Event) -> int:
    return 0
