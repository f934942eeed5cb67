"""A shell with a hand-driven clock and driver, and links made for it. Knows no test."""

from collections.abc import Sequence

from cluster.serving.driver import HeldLink
from cluster.serving.engines.port import EngineInfo
from cluster.serving.plane import Plane
from cluster.serving.shell import PlaneShell
from sage.base.clock import ManualClock
from sage.base.inference import Reply, Request, Token
from tests.unit.serving.arrange import chat_engine, outcome_of
from tests.unit.serving.links import ScriptedLink, at_once


class HandDriver:
    """Remembers what a shell wants watched and when it wants to be woken."""

    def __init__(self) -> None:
        self.fds: set[int] = set()
        self.wake_s: float | None = None
        self.again: list[tuple[HeldLink, float]] = []

    def watch_fd(self, fd: int) -> None:
        self.fds.add(fd)

    def unwatch_fd(self, fd: int) -> None:
        self.fds.remove(fd)

    def wake_at(self, at_s: float) -> None:
        self.wake_s = at_s

    def start_again(self, held: HeldLink, after_s: float) -> None:
        self.again.append((held, after_s))


class Asker:
    """Keeps the replies it was given: `calls` as they came."""

    def __init__(self) -> None:
        self.calls: list[list[Reply]] = []

    def __call__(self, replies: Sequence[Reply]) -> None:
        self.calls.append(list(replies))

    def outcomes(self) -> dict[str, str]:
        lasts = [reply for call in self.calls for reply in call if not isinstance(reply, Token)]
        assert len({last.request_id for last in lasts}) == len(lasts), "one end for each request"
        return {last.request_id: outcome_of(last) for last in lasts}

    def text(self) -> str:
        return "".join(reply.text for call in self.calls for reply in call if isinstance(reply, Token))


class Stage:
    """A shell with a hand-driven clock, and the links made for it."""

    def __init__(self) -> None:
        self.clock = ManualClock(100.0)
        self.driver = HandDriver()
        self.plane = Plane(("chat", "embed"))
        self.shell = PlaneShell(self.plane, self.driver, clock=self.clock)
        self.links: list[ScriptedLink] = []

    def link(self, info: EngineInfo | None = None, *, answers: bool = False, is_ready: bool = True) -> ScriptedLink:
        link = ScriptedLink(info or chat_engine(), answering=at_once if answers else None)
        self.links.append(link)
        if is_ready:
            link.is_ready()
        self.shell.attach(link)
        return link

    def come(self, link: ScriptedLink) -> None:
        """Let the driver find the link's descriptor readable."""
        for fd in link.fds():
            assert fd in self.driver.fds
            self.shell.on_link_readable(fd)

    def ask(self, *requests: Request) -> Asker:
        asker = Asker()
        self.shell.submit(requests, asker)
        self.plane.check()
        return asker
