"""What a tenant may not ask for now. They are in the tree of `errors`."""

from sage.base.sage_error import WorldError


class QuotaExceeded(WorldError):
    """A tenant has used up what it may ask for; try again after `retry_after_s`."""

    code = "SAGE-2208"


class BudgetSpent(WorldError):
    """A tenant has spent its tokens of this hour, day or month; a new budget begins after `retry_after_s`."""

    code = "SAGE-2209"
