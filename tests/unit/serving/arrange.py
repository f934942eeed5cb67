"""Requests, engines and a plane that is checked after every event, for the tests beside this. Knows no test."""

from collections import Counter

from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import (
    AbortAt,
    Answer,
    Cancelled,
    Command,
    Dispatch,
    EngineDown,
    EngineEnded,
    EngineStarting,
    EngineUp,
    Event,
    FirstTokens,
    PolicyChanged,
    Submitted,
    TimePassed,
    WakeAt,
)
from cluster.serving.plane import Plane
from cluster.serving.size import TextSizing
from cluster.serving.ticket import Ticket, lane_of, ticket_for
from sage.base.errors import EngineLost
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    GenerateRequest,
    Kind,
    Last,
    ModelCard,
    Request,
    Sampling,
    ServiceClass,
    Usage,
)

CHAT_CARD = ModelCard("chat", (Kind.CHAT, Kind.GENERATE), 2048)
EMBED_CARD = ModelCard("embed", (Kind.EMBED,), 512, dim=2)
BATCH = ServiceClass.BATCH
STANDARD = ServiceClass.STANDARD
INTERACTIVE = ServiceClass.INTERACTIVE


def chat(
    id: str,
    service_class: ServiceClass = STANDARD,
    *,
    model: str = "chat",
    timeout_s: float | None = None,
    num_characters: int = 40,
    max_tokens: int | None = 10,
    tenant: str = "default",
    text: str | None = None,
) -> ChatRequest:
    messages = (ChatMessage("user", "x" * num_characters if text is None else text),)
    sampling = Sampling(max_tokens=max_tokens)
    return ChatRequest(RequestId(id), model, messages, sampling, service_class, tenant, timeout_s)


def waiting(request: Request, arrival: int = 1, now_s: float = 0.0) -> Ticket:
    """Return the ticket of a request that waits."""
    ticket = ticket_for(request, lane_of(request), arrival, now_s, TextSizing().size(request))
    ticket.is_waiting = True
    return ticket


def generate(id: str, service_class: ServiceClass = STANDARD) -> GenerateRequest:
    return GenerateRequest(RequestId(id), "chat", "x" * 40, Sampling(max_tokens=10), service_class)


def embed(
    id: str, num_texts: int = 1, service_class: ServiceClass = STANDARD, *, timeout_s: float | None = None
) -> EmbedRequest:
    return EmbedRequest(RequestId(id), "embed", ("text",) * num_texts, service_class, timeout_s=timeout_s)


def chat_engine(
    name: str = "c1", *, max_running: int = 2, adapters: tuple[str, ...] = (), adapter_slots: int = 0
) -> EngineInfo:
    cards = (CHAT_CARD, *(ModelCard(adapter, CHAT_CARD.kinds, 2048, parent="chat") for adapter in adapters))
    return EngineInfo(EngineId(name), "simulated", "CPU", True, cards, max_running, adapter_slots=adapter_slots)


def embed_engine(name: str = "e1", *, max_running: int = 256, max_batch_texts: int = 8) -> EngineInfo:
    return EngineInfo(EngineId(name), "simulated", "CPU", True, (EMBED_CARD,), max_running, max_batch_texts)


def lost(what: str = "killed by signal 9") -> Failure:
    return Failure.of(EngineLost(what))


class CheckedPlane:
    """Drives a plane, checks it after every event, and keeps what it ordered."""

    def __init__(self, plane: Plane | None = None) -> None:
        self.plane = plane if plane is not None else Plane(("chat", "embed"), policy="priority")
        self.now_s = 100.0
        self.commands: list[Command] = []
        self.answers: dict[RequestId, list[Last]] = {}

    def handle(self, event: Event) -> list[Command]:
        """Return the orders that `event` brought."""
        commands = self.plane.handle(event, self.now_s)
        self.plane.check()
        self.commands.extend(commands)
        for command in commands:
            if isinstance(command, Answer):
                for last in command.ended:
                    self.answers.setdefault(last.request_id, []).append(last)
        return commands

    def submit(self, *requests: Request) -> list[Command]:
        return self.handle(Submitted(requests))

    def cancel(self, *ids: str) -> list[Command]:
        return self.handle(Cancelled(tuple(map(RequestId, ids))))

    def up(self, info: EngineInfo) -> list[Command]:
        return self.handle(EngineUp(info))

    def starting(self, name: str, *models: str) -> list[Command]:
        return self.handle(EngineStarting(EngineId(name), models))

    def down(self, name: str, failure: Failure | None = None) -> list[Command]:
        return self.handle(EngineDown(EngineId(name), failure or lost()))

    def end(self, engine: str, *ids: str) -> list[Command]:
        """Say that the engine has finished these."""
        return self.handle(EngineEnded(EngineId(engine), tuple(finished(id, engine) for id in ids)))

    def first(self, *ids: str) -> list[Command]:
        """Say that the first tokens of these came."""
        return self.handle(FirstTokens(EngineId("c1"), tuple(map(RequestId, ids))))

    def policy(self, name: str) -> list[Command]:
        return self.handle(PolicyChanged(name))

    def wait(self, by_s: float) -> list[Command]:
        self.now_s += by_s
        return self.handle(TimePassed())

    def outcome(self, id: str) -> str:
        """Return how the request ended: "finished", the code of its error, or "open"."""
        lasts = self.answers.get(RequestId(id), [])
        assert len(lasts) <= 1, f"{id} was answered {len(lasts)} times"
        return outcome_of(lasts[0]) if lasts else "open"

    def failure(self, id: str) -> Failure:
        last = self.answers[RequestId(id)][0]
        assert isinstance(last, Failed), last
        return last.failure


def finished(id: str, engine: str = "c1", *, prompt_tokens: int = 10, completion_tokens: int = 5) -> Finished:
    usage = Usage(prompt_tokens, completion_tokens)
    return Finished(RequestId(id), "stop", usage, EngineId(engine))


def embedded(id: str, engine: str = "e1") -> Embedded:
    return Embedded(RequestId(id), bytes(8), 2, Usage(3), EngineId(engine))


def outcome_of(last: Last) -> str:
    return last.failure.code if isinstance(last, Failed) else "finished"


def dispatched(commands: list[Command]) -> list[tuple[str, list[str]]]:
    """Return the dispatches among `commands`: engine and ids."""
    return [(c.engine_id, [r.id for r in c.requests]) for c in commands if isinstance(c, Dispatch)]


def aborted(commands: list[Command]) -> list[tuple[str, tuple[str, ...]]]:
    return [(c.engine_id, c.request_ids) for c in commands if isinstance(c, AbortAt)]


def wakes(commands: list[Command]) -> list[float]:
    return [c.at_s for c in commands if isinstance(c, WakeAt)]


def sizes(commands: list[Command]) -> Counter[str]:
    """Return how many commands of each kind there are."""
    return Counter(type(command).__name__ for command in commands)
