"""Whether a request may wait for an engine, and if not, why. Knows nothing of queues, ids in use or time."""

import difflib
from collections.abc import Collection, Iterable

from cluster.serving.names import unknown
from cluster.serving.route import Router
from cluster.serving.ticket import Lane
from sage.base.errors import InvalidRequest, NoEngine, SageError, UnknownModel
from sage.base.ids import EngineId
from sage.base.inference import MAX_EMBED_TEXTS, MAX_SCORE_TEXTS, EmbedRequest, Request, ScoreRequest

RETRY_NO_ENGINE_S = 5.0  # about what an embedded engine needs to start (measured: 3 s to load a 98 MB model)


ADMISSION_NAMES = ("none", "deadline")


def is_by_deadline(name: str) -> bool:
    """Say whether what would begin after it is due is refused at the door; raises UnknownPolicy."""
    if name not in ADMISSION_NAMES:
        raise unknown("admission", name, ADMISSION_NAMES, plural="admissions", param="admission")
    return name == "deadline"


class Offer:
    """Which models are known, which will be served soon, and by `router` which are served now."""

    def __init__(self, known_models: Iterable[str], router: Router) -> None:
        self._known = set(known_models)
        self._starting: dict[EngineId, tuple[str, ...]] = {}
        self._router = router

    def starting(self, engine_id: EngineId, models: tuple[str, ...]) -> None:
        """Note an engine that will serve `models`."""
        self._starting[engine_id] = models
        self._known.update(models)

    def started(self, engine_id: EngineId, models: Iterable[str] = ()) -> bool:
        """Note that a start has ended, well with `models` or badly with none; say whether it was known to start."""
        self._known.update(models)
        return self._starting.pop(engine_id, None) is not None

    def knows(self, model: str) -> bool:
        return model in self._known

    def engines_starting(self) -> dict[EngineId, tuple[str, ...]]:
        return dict(self._starting)

    def is_served(self, lane: Lane) -> bool:
        """Say whether an engine serves `lane` or may once it has started."""
        return self._router.serves(lane) or any(lane.model in models for models in self._starting.values())

    def invalid(self, request: Request) -> SageError | None:
        """Return what is wrong with the fields of `request`, if anything is."""
        match request:
            case EmbedRequest(texts=texts):
                what, most = "an embedding request", MAX_EMBED_TEXTS
            case ScoreRequest(texts=texts):
                what, most = "a request to score", MAX_SCORE_TEXTS
            case _:
                return None
        if 1 <= len(texts) <= most:
            return None
        return InvalidRequest(
            f"{what} holds 1 to {most} texts, not {len(texts)}",
            "Split longer lists into several requests.",
            param="texts",
        )

    def unserved(self, lane: Lane) -> SageError:
        """Return why nothing serves `lane`: the model is unknown, does something else, or has no engine now."""
        kinds = self._router.kinds_of(lane.model)
        if kinds:
            served = ", ".join(sorted(kinds))
            what = f"model {lane.model!r} serves {served}, not {lane.kind.value}"
            return InvalidRequest(what, "Name a model that does.", param="model")
        return self.absent(lane.model)

    def absent(self, model: str) -> SageError:
        """Return why no engine has `model`: it is unknown, or has no engine now."""
        return absent(model, self._known)


def absent(model: str, known: Collection[str]) -> SageError:
    """Return why no engine has `model`: it is none of those that are `known`, or has no engine now."""
    if model in known:
        do = f"Start one, or try again in {RETRY_NO_ENGINE_S:g} s."
        return NoEngine(f"no engine that serves {model!r} is up", do, retry_after_s=RETRY_NO_ENGINE_S)
    nearest = difflib.get_close_matches(model, sorted(known), n=1)
    do = f"Did you mean {nearest[0]!r}? " if nearest else ""
    listed = ", ".join(sorted(known)) or "none"
    return UnknownModel(f"no model is called {model!r}", f"{do}Known models: {listed}.", param="model")
