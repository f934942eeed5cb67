"""What is told of an engine's adapters (LoRA): names, folders, how many are ready at once. Pure; reads no folder."""

from collections.abc import Iterable

import msgspec

from sage.base.errors import ConfigInvalid
from sage.base.settings import EngineSettings

MOST_SLOTS = 4
"""Where nothing is said: each slot takes memory of the device for weights of the highest rank."""


class AdapterOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Adapters by name and folder (of vLLM alone); `slots` are ready at once, 0: as many as there are."""

    folders: tuple[tuple[str, str], ...] = ()
    slots: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.folders)


NO_ADAPTERS = AdapterOptions()


def adapters_from_texts(texts: Iterable[str], engine: str) -> dict[str, str]:
    """Return the adapters that `NAME=FOLDER` or, of others than vLLM, `NAME` name on the command line of `engine`.

    >>> adapters_from_texts(["sql=/adapters/sql", "law"], "vllm:/m")
    {'sql': '/adapters/sql', 'law': ''}

    Raises: ConfigInvalid where one is named twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if name in found:
            raise ConfigInvalid(f"engine {engine!r}: adapter {name!r} is given twice", "Give it once.", param="adapter")
        found[name] = folder
    return found


def adapter_options(settings: EngineSettings, where: str) -> AdapterOptions:
    """Return what `settings` say of adapters; raises ConfigInvalid where the engine cannot have them so."""
    kind, adapters, slots = settings.kind, settings.adapters, settings.adapter_slots
    if adapters and kind not in ("vllm", "openai", "simulated"):
        what = f"{where}: adapters are of vllm, openai and simulated engines"
        raise ConfigInvalid(what, "Leave them out.", param="adapter")
    if slots and not adapters:
        what = f"{where}: adapter_slots is how many adapters are ready at once, and there are none"
        raise ConfigInvalid(what, "Name some: adapter=NAME=FOLDER", param="adapter_slots")
    if adapters and settings.roles and "chat" not in settings.roles:
        raise ConfigInvalid(f"{where}: adapters are of models that answer", "Leave them out.", param="adapter")
    for name, folder in adapters.items():
        _check(name, folder, settings, where)
    most = slots or (0 if kind == "openai" else min(MOST_SLOTS, len(adapters)))
    return AdapterOptions(tuple(adapters.items()), most)


def _check(name: str, folder: str, settings: EngineSettings, where: str) -> None:
    if not name.isprintable() or name in ("", settings.model):
        what = f"{where}: an adapter needs a name of its own that can be printed, not {name!r}"
        raise ConfigInvalid(what, "Requests ask for it by that.", param="adapter")
    if settings.kind == "vllm" and not folder:
        what = f"{where}: adapter {name!r} has no folder"
        raise ConfigInvalid(what, f"Say where it is: adapter={name}=FOLDER", param="adapter")
    if settings.kind != "vllm" and folder:
        what = f"{where}: {settings.kind} engines read no folder, as {folder!r} of adapter {name!r}"
        raise ConfigInvalid(what, f"Name it alone: adapter={name}", param="adapter")
