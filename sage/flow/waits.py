"""How long users may have us wait. Knows nothing of what is waited for."""

from sage.flow.where import refusal

LONGEST_S = 366 * 86_400.0


def check_wait(timeout_s: object) -> None:
    """Raise FlowInvalid for what no wait can be bounded by. None waits as long as it takes."""
    if timeout_s is None or (isinstance(timeout_s, int | float) and 0 <= timeout_s <= LONGEST_S):
        return
    what = f"timeout_s is {timeout_s!r}; it is a number of seconds, at least 0 and at most a year"
    raise refusal(what, "Leave it out to wait as long as it takes.", param="timeout_s")
