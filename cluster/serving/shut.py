"""Engines with a slot whose window is full of prompts, by how many tokens of prompts they have. Knows no queue."""

from bisect import bisect_left, insort
from itertools import islice

from cluster.serving.account import EngineAccount
from cluster.serving.window import PromptWindow


class ShutEngines:
    """Of the engines that share each window. O(log engines) a change, but for one memmove."""

    def __init__(self) -> None:
        self._orders: dict[PromptWindow, list[tuple[int, int, EngineAccount]]] = {}
        self._places: dict[EngineAccount, tuple[int, int, EngineAccount]] = {}
        self._num_put = 0

    def put(self, account: EngineAccount) -> None:
        """Let an engine stand by the prompt tokens that it has now."""
        self.remove(account)
        self._num_put += 1
        place = self._places[account] = (account.prefill_tokens, self._num_put, account)
        insort(self._orders.setdefault(account.window, []), place)

    def remove(self, account: EngineAccount) -> None:
        """Let an engine stand no more; one that does not is passed over."""
        place = self._places.pop(account, None)
        if place is None:
            return
        order = self._orders[account.window]
        del order[bisect_left(order, place)]
        if not order:
            del self._orders[account.window]

    def fitting(self, window: PromptWindow) -> list[EngineAccount]:
        """Return those that the window lets have another prompt by now."""
        order = self._orders.get(window, [])
        return [account for _, _, account in order[: bisect_left(order, (window.tokens, self._num_put + 1))]]

    def least(self, num: int) -> list[EngineAccount]:
        """Return up to `num` for each window, those with the fewest prompt tokens."""
        return [account for order in self._orders.values() for _, _, account in islice(order, num)]

    def __contains__(self, account: EngineAccount) -> bool:
        return account in self._places

    def tokens_of(self, account: EngineAccount) -> int:
        """Return by how many prompt tokens an engine stands."""
        return self._places[account][0]
