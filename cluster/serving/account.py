"""What one engine holds and has room for. Knows nothing of other engines."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from cluster.serving.adapter_loads import TIMES_IF_OUT_GOES, AdapterLoads
from cluster.serving.adapter_slots import AdapterSlots
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import EngineInfo
from cluster.serving.kv_room import KvRoom
from cluster.serving.latency import LatencyModel
from cluster.serving.size import WORK_OF_ANSWER_TOKEN
from cluster.serving.speeds import Speed
from cluster.serving.text_times import TextTimes
from cluster.serving.ticket import Lane, Ticket
from cluster.serving.window import PromptWindow
from sage.base.ids import RequestId
from sage.base.inference import TEXT_KINDS, Failed, Kind, Last

MAX_EMBEDDING_BATCHES = 2  # one in work, one at hand: the engine never idles, and the rest can still be ordered here

MIN_TOKENS_TIMED = 4  # the time between fewer tokens is mostly that of one iteration and of the way


@dataclass(slots=True, eq=False)
class EngineAccount:
    """What an engine holds, from the pick until the engine says that it ended.

    `load_tokens`: prompts and longest answers. `work`: the same as the route weighs them, without what is cached.
    `prefill_tokens`: of prompts whose first token has not come, what was not cached; `num_decoding`: of the others.
    Prompts are worked off one after the other: `planned_s` is when the last of them should be done by the plan made
    as each was given, `late_s` how late the latest first token came by it, `last_first_s` when that was.
    `kv`: its memory for keys and values, once it has told how much that holds.
    """

    info: EngineInfo
    lanes: dict[Lane, None]
    held: dict[RequestId, Ticket] = field(default_factory=dict)
    load_tokens: int = 0
    work: float = 0.0
    prefill_tokens: int = 0
    num_decoding: int = 0
    planned_s: float = 0.0
    late_s: float = 0.0
    last_first_s: float = 0.0
    window: PromptWindow = field(default_factory=lambda: PromptWindow(is_adaptive=False))
    latency: LatencyModel = field(default_factory=LatencyModel)
    kv: KvRoom | None = None
    texts: TextTimes = field(default_factory=TextTimes)  # the embedding batches that it still holds
    last_pick: int = 0
    version: int = 0
    is_retired: bool = False
    is_shared: bool = False  # by several tenants alike; when the router last looked at it, as the next
    kept_slots: int = 0  # for what is sparse
    figures: EngineFigures | None = None
    slots: AdapterSlots | None = None  # of engines that offer adapters
    adapters: frozenset[str] = frozenset()
    loads: AdapterLoads = field(default_factory=AdapterLoads)  # one for all that are alike, as the window
    speed: Speed = field(default_factory=Speed)  # one for all that are alike, too
    num_free: int = field(init=False)  # slots, when the router last looked at it, as the next two
    is_able: bool = False  # whether it was not to end and had one
    is_open: bool = False  # whether it had room for a prompt

    def __post_init__(self) -> None:
        self.num_free = self.info.max_running

    @property
    def slowness(self) -> float:
        """How many times as long it takes for a prompt as the fastest of the model do."""
        return self.speed.slowness

    def free_slots(self) -> int:
        """Return how many more requests it works on at once, and has memory for."""
        num_free = self.info.max_running - len(self.held)
        return num_free if self.kv is None else min(num_free, self.kv.num_free)

    def adapter_of(self, lane: Lane) -> str | None:
        """Return the adapter of this engine that a lane asks for; None where it is a model of its own."""
        return lane.model if lane.model in self.adapters else None

    def has_slot_for(self, lane: Lane) -> bool:
        """Say whether it serves a lane, and what that asks for is no adapter, or one that is ready or can be loaded."""
        if lane not in self.lanes:
            return False
        return self.slots is None or lane.model not in self.adapters or self.slots.has_room(lane.model)

    def lanes_to_look_at(self, waiting_among: Callable[[Collection[Lane]], list[Lane]]) -> Iterable[Lane]:
        """Return those of its lanes, of which many may be adapters, in which something waits that it has a slot for."""
        return [lane for lane in waiting_among(self.lanes) if self.has_slot_for(lane)]

    def must_load(self, lane: Lane) -> bool:
        """Say whether what a lane asks for is an adapter that is not ready."""
        return self.slots is not None and lane.model in self.adapters and lane.model not in self.slots

    def loading_tokens(self, lane: Lane) -> float:
        """Return what the loading for a lane counts, in prompt tokens; 0 where nothing is to be loaded."""
        if self.slots is None or not self.must_load(lane):
            return 0.0
        return self.loads.tokens * (1.0 if self.slots.next_out is None else TIMES_IF_OUT_GOES)

    def has_room(self, kind: Kind) -> bool:
        """Say whether it may be given something of `kind` now."""
        return self.has_room_for_texts() if kind in TEXT_KINDS else self.has_room_for_prompt()

    def has_room_for_texts(self) -> bool:
        return not self.is_retired and len(self.texts) < MAX_EMBEDDING_BATCHES and self.free_slots() > 0

    def has_room_for_prompt(self) -> bool:
        return self.prefill_tokens <= self.window.tokens and self.has_open_slot()

    def has_open_slot(self) -> bool:
        """Say whether a sequence is free that is not kept for what is sparse."""
        if self.is_retired or len(self.held) >= self.info.max_running - self.kept_slots:
            return False
        return self.kv is None or self.kv.num_free > 0

    def take(self, ticket: Ticket, uncached_tokens: int, now_s: float) -> None:
        """Hold a ticket that is sent now."""
        ticket.engine_id = self.info.engine_id
        ticket.sent_s = now_s
        ticket.first_s = None
        ticket.work = work = uncached_tokens + WORK_OF_ANSWER_TOKEN * ticket.size.answer_tokens
        ticket.uncached_tokens = uncached_tokens
        load_s = 0.0
        if self.slots is not None:
            load_s = self._take_slot(self.slots, ticket)
        elif ticket.adapter is not None:  # of an engine that gave it back
            ticket.adapter, ticket.is_loaded_for = None, False
        self.held[ticket.request.id] = ticket
        self.load_tokens += ticket.cost_tokens
        self.work += work
        if ticket.lane.kind not in TEXT_KINDS:
            if self.kv is not None:
                self.kv.take(ticket, now_s)
            if not self.prefill_tokens:
                self.late_s = 0.0
            late_s, planned_s, num_decoding = self.late_s, self.planned_s, self.num_decoding
            prefill_s = self.latency.first_token_s(uncached_tokens, num_decoding) or 0.0
            if prefill_s:
                prefill_s += load_s
            begins_s = now_s - late_s
            planned_s = (begins_s if begins_s > planned_s else planned_s) + prefill_s
            self.planned_s = ticket.planned_s = planned_s
            ticket.prefill_s, ticket.foretold_s, ticket.num_beside = prefill_s, planned_s + late_s, num_decoding
            self.prefill_tokens += uncached_tokens

    def _take_slot(self, slots: AdapterSlots, ticket: Ticket) -> float:
        """Have the adapter of a ticket ready; return the seconds that this takes."""
        ticket.adapter = self.adapter_of(ticket.lane)
        ticket.is_loaded_for = ticket.adapter is not None and slots.take(ticket.adapter, ticket.work)
        return self.loads.seconds if ticket.is_loaded_for else 0.0

    def saw(self, figures: EngineFigures, now_s: float) -> bool:
        """Take what the engine says of itself: by its own clock it knows best how long tokens take. Say whether it may
        have another number of free slots by that."""
        before, self.figures = self.figures, figures
        had_kv = self.kv is not None
        self._saw_kv(figures, now_s)
        num_tokens = 0.0 if before is None else figures.num_decoded - before.num_decoded
        if before is not None and num_tokens >= MIN_TOKENS_TIMED:
            beside = max(1.0, (before.num_running + figures.num_running) / 2)
            self.latency.saw_decode(beside, (figures.decode_s - before.decode_s) / num_tokens)
        return had_kv or self.kv is not None

    def _saw_kv(self, figures: EngineFigures, now_s: float) -> None:
        if not figures.kv_tokens:
            self.kv = None
            return
        held = [ticket for ticket in self.held.values() if ticket.lane.kind not in TEXT_KINDS]
        begun = [ticket.size.prompt_tokens for ticket in held if ticket.first_s is not None]
        if self.kv is not None:
            self.kv.told(figures, sum(begun), len(begun))
            return
        self.kv = KvRoom(figures)
        for ticket in held:
            self.kv.take(ticket, now_s)
            if ticket.first_s is not None:
                self.kv.began(ticket, ticket.first_s)

    def first_token_in_s(self, uncached_tokens: int, now_s: float, lane: Lane) -> float | None:
        """Return in how many seconds a prompt of a lane, given now, would have its first token; None while nothing is
        known."""
        prefill_s = self.latency.first_token_s(uncached_tokens, self.num_decoding)
        if prefill_s is None:
            return None
        before_s = max(0.0, self.planned_s + self.late_s - now_s) if self.prefill_tokens else 0.0
        return before_s + prefill_s + (self.loads.seconds if self.must_load(lane) else 0.0)

    def saw_first_token(self, ticket: Ticket, now_s: float) -> None:
        """Note that the first token of a ticket that is held came now."""
        if ticket.first_s is not None or ticket.lane.kind in TEXT_KINDS:
            return
        ticket.first_s = now_s
        self.prefill_tokens -= ticket.uncached_tokens
        self.num_decoding += 1
        last_s = self.last_first_s
        ticket.took_s = took_s = now_s - (last_s if last_s > ticket.sent_s else ticket.sent_s)
        error = None
        if ticket.prefill_s:
            error = abs(ticket.foretold_s - now_s) / max(now_s - ticket.sent_s, 1e-3)
            self.late_s = now_s - ticket.planned_s
        if self.slots is not None:
            self._saw_load(ticket)
        if not ticket.is_loaded_for or not ticket.prefill_s:
            self.latency.saw_first_token(ticket.uncached_tokens, self.num_decoding - 1, took_s, error=error)
        if self.kv is not None:
            self.kv.began(ticket, now_s)
        if self.last_first_s >= ticket.arrived_s:  # it had work ever since: time between two prompts counts too
            self.window.worked_off(ticket.uncached_tokens, now_s - self.last_first_s, ticket.request.tenant)
        self.last_first_s = now_s
        if not self.prefill_tokens:
            self.planned_s, self.late_s = now_s, 0.0

    def check(self) -> None:
        """Assert what always holds; for tests."""
        held = self.held.values()
        assert len(held) <= self.info.max_running, "a window is exceeded"
        assert self.load_tokens == sum(ticket.cost_tokens for ticket in held), "load is what is held"
        started = [ticket for ticket in held if ticket.first_s is not None]
        assert self.num_decoding == len(started), "who decodes is known"
        rest = [ticket for ticket in held if ticket.first_s is None and ticket.lane.kind not in TEXT_KINDS]
        assert self.prefill_tokens == sum(ticket.uncached_tokens for ticket in rest)
        assert abs(self.work - sum(ticket.work for ticket in held)) < 1.0, "work is what is held"
        assert all(ticket.engine_id == self.info.engine_id for ticket in held)
        assert len(self.texts) <= MAX_EMBEDDING_BATCHES
        if self.kv is not None:
            self.kv.check([ticket for ticket in held if ticket.lane.kind not in TEXT_KINDS])
        self.texts.check(sum(ticket.batch is not None for ticket in held))
        if self.slots is not None:
            self.slots.check()
            for adapter in self.adapters:
                num = sum(ticket.adapter == adapter for ticket in held)
                assert self.slots.at_work(adapter) == num, "slots are held by what is held"

    def _saw_load(self, ticket: Ticket) -> None:
        """Learn from how long a prompt took: of one whose adapter was loaded, what is more than it takes without."""
        if not ticket.is_loaded_for:
            self.loads.saw_prompt(ticket.uncached_tokens, ticket.took_s)
        elif (alone_s := self.latency.first_token_s(ticket.uncached_tokens, self.num_decoding - 1)) is not None:
            self.loads.saw_load(ticket.took_s - alone_s)

    def drop(self, last: Last, now_s: float) -> Ticket | None:
        """Return the ticket that ended so, and hold it no more; None if it is not held."""
        ticket = self.held.pop(last.request_id, None)
        if ticket is None:
            return None
        self.load_tokens -= ticket.cost_tokens
        self.work = self.work - ticket.work if self.held else 0.0  # what rounding left goes with the last
        if self.slots is not None and ticket.adapter is not None:
            self.slots.drop(ticket.adapter)
        if ticket.batch is not None:
            self.texts.ended(ticket.batch, ticket, now_s)
        first_s = ticket.first_s
        if ticket.lane.kind in TEXT_KINDS:
            return ticket
        if self.kv is not None:
            self.kv.drop(ticket, None if type(last) is Failed else last.usage.completion_tokens, now_s)
        if first_s is None:
            self.prefill_tokens -= ticket.uncached_tokens
            self.planned_s -= ticket.prefill_s
            return ticket
        if type(last) is not Failed and (num_tokens := last.usage.completion_tokens) >= MIN_TOKENS_TIMED:
            beside = (ticket.num_beside + 1 + self.num_decoding) / 2
            self.latency.saw_decode(beside, (now_s - first_s) / (num_tokens - 1))
        self.num_decoding -= 1
        return ticket
