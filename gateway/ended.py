"""Counts the requests that end elsewhere than at a plane of this process: at a cluster, or in its flows.

What a plane of this process serves it counts itself. Knows no route and no connection.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from sage.base.errors import UnknownModel
from sage.base.inference import Failed, Last, Request, kind_of
from sage.base.metrics import PICKED, REQUESTS, TAKEN_BACK, TOKENS

FINISHED = "finished"


class EndedRequests:
    """Written and read on the gateway's loop. Callers cannot make time series by naming models that do not exist."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str, str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.picked: Counter[tuple[str, str]] = Counter()
        self.num_taken_back = 0

    def count(self, request: Request, last: Last) -> None:
        """Account for the end of a request."""
        outcome = last.failure.code if isinstance(last, Failed) else FINISHED
        if outcome == UnknownModel.code:
            return
        self.ended[request.model, kind_of(request).value, request.service_class.value, outcome] += 1
        if not isinstance(last, Failed):
            usage, served = last.usage, last.served
            if served is not None:
                self.picked[served.policy, served.route] += 1
                self.num_taken_back += served.num_taken_back
            self.tokens[request.model, "prompt"] += usage.prompt_tokens
            self.tokens[request.model, "cached"] += usage.cached_tokens
            self.tokens[request.model, "completion"] += usage.completion_tokens

    def add_to(self, requests: CounterMetricFamily, tokens: CounterMetricFamily) -> None:
        """Put the counts into these families."""
        for labels, num_ended in self.ended.items():
            requests.add_metric(labels, num_ended)
        for names, num_tokens in self.tokens.items():
            tokens.add_metric(names, num_tokens)


class EndedCollector(Collector):
    """Shows what was asked, where no plane of this process shows anything."""

    def __init__(self, requests: EndedRequests) -> None:
        self._requests = requests

    def collect(self) -> Iterator[CounterMetricFamily]:
        requests = CounterMetricFamily(REQUESTS.name, REQUESTS.help, labels=REQUESTS.labels)
        tokens = CounterMetricFamily(TOKENS.name, TOKENS.help, labels=TOKENS.labels)
        self._requests.add_to(requests, tokens)
        picked = CounterMetricFamily(PICKED.name, PICKED.help, labels=PICKED.labels)
        for names, num_picked in self._requests.picked.items():
            picked.add_metric(names, num_picked)
        taken_back = CounterMetricFamily(TAKEN_BACK.name, TAKEN_BACK.help, value=self._requests.num_taken_back)
        yield from (requests, tokens, picked, taken_back)
