"""How alike tenants were served: what each got, against what it would have got of a fluid shared max-min fairly.

The fluid flows as fast as the engines really worked: in each moment all tokens that were worked off, of prompts and of
answers, are dealt out alike to the tenants that have something waiting; what one does not need goes to the others
(generalized processor sharing: Parekh and Gallager, 1993). Counted until the last arrival: afterwards nobody competes.
Knows no engine and no policy.
"""

from collections.abc import Mapping, Sequence

from benchmarks.simulator.outcome import Outcome

NUM_MOMENTS = 200


def shares_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return, for each tenant, what it got as a share of what it would have got of the fluid."""
    until_s = max((o.arrival.at_s for o in outcomes), default=0.0)
    if until_s <= 0.0:
        until_s = max((o.end_s or 0.0 for o in outcomes), default=0.0) or 1.0
    tenants = list(dict.fromkeys(o.arrival.tenant for o in outcomes))
    came = {tenant: [0.0] * NUM_MOMENTS for tenant in tenants}
    served = {tenant: [0.0] * NUM_MOMENTS for tenant in tenants}
    for outcome in outcomes:
        arrival = outcome.arrival
        came[arrival.tenant][_moment(arrival.at_s, until_s)] += arrival.prompt_tokens + arrival.answer_tokens
        _serve(served[arrival.tenant], outcome, until_s)
    fluid = _fluid(came, served)
    return {tenant: sum(served[tenant]) / fluid[tenant] for tenant in tenants if fluid[tenant] > 0.0}


def jain_index(shares: Sequence[float]) -> float:
    """Return Jain's index: 1 where all shares are alike, 1/n where one has everything."""
    squares = len(shares) * sum(share * share for share in shares)
    return sum(shares) ** 2 / squares if squares else 0.0


def max_min(amount: float, wanted: Mapping[str, float]) -> dict[str, float]:
    """Deal `amount` out alike; nobody gets more than it wants.

    >>> max_min(9.0, {"a": 1.0, "b": 10.0, "c": 10.0})
    {'a': 1.0, 'b': 4.0, 'c': 4.0}
    """
    given: dict[str, float] = {}
    left = sorted(wanted.items(), key=lambda item: item[1])
    for number, (name, want) in enumerate(left):
        given[name] = min(want, amount / (len(left) - number))
        amount -= given[name]
    return given


def _fluid(came: Mapping[str, list[float]], served: Mapping[str, list[float]]) -> dict[str, float]:
    backlog, got = dict.fromkeys(came, 0.0), dict.fromkeys(came, 0.0)
    flow = 0.0  # what could flow; where nothing waits it is carried on, since really served requests came before
    for moment in range(NUM_MOMENTS):
        for tenant in came:
            backlog[tenant] += came[tenant][moment]
        flow += sum(tokens[moment] for tokens in served.values())
        for tenant, tokens in max_min(flow, backlog).items():
            backlog[tenant] -= tokens
            got[tenant] += tokens
            flow -= tokens
    return got


def _serve(served: list[float], outcome: Outcome, until_s: float) -> None:
    """Note a prompt with its first token, and its answer evenly until its end."""
    first_s, end_s = outcome.first_s, outcome.end_s
    if first_s is None or end_s is None or outcome.why is not None or first_s > until_s:
        return
    served[_moment(first_s, until_s)] += outcome.arrival.prompt_tokens
    if end_s <= first_s:
        served[_moment(first_s, until_s)] += outcome.arrival.answer_tokens
        return
    begin, end, length_s = _moment(first_s, until_s), _moment(min(end_s, until_s), until_s), until_s / NUM_MOMENTS
    tokens_per_s = outcome.arrival.answer_tokens / (end_s - first_s)
    for moment in range(begin, end + 1):
        from_s, to_s = max(first_s, moment * length_s), min(end_s, until_s, (moment + 1) * length_s)
        served[moment] += max(0.0, to_s - from_s) * tokens_per_s


def _moment(at_s: float, until_s: float) -> int:
    return min(NUM_MOMENTS - 1, int(at_s / until_s * NUM_MOMENTS))
