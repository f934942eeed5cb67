"""What may be wrong where the state of a step, or a kept answer, is looked up. They are in the tree of `errors`."""

from sage.base.sage_error import CallerError, WorldError


class UnknownState(CallerError):
    """The flow has no step of this name, or the step keeps nothing by key."""

    code = "SAGE-1311"


class StateUnreachable(WorldError):
    """The state of a step cannot be asked for now: its job is over, waits for room, or did not answer in time."""

    code = "SAGE-2110"


class CacheUnusable(WorldError):
    """The folder of a cache of calls cannot be opened."""

    code = "SAGE-2111"
