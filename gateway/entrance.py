"""The ASGI application in front: hot routes by path, everything else to FastAPI; every error becomes OpenAI's body.

Knows no model. While it drains it takes no new inference, finishes what it has, and says so at /readyz.
"""

import asyncio
from collections.abc import Mapping
from random import Random

from cluster.web.body import AsgiApp, ClientGone, Receive, Scope, Send
from gateway.asks import is_json
from gateway.bridge import AskerGone, Bridge
from gateway.errors import Problem, RequestRefused, problem_of
from gateway.exchange import Exchange
from gateway.guard import Caller, Guard
from gateway.headers import call_of, given_id
from gateway.hosts import LocalHosts
from gateway.routes import Route
from sage.base.errors import InternalError, Overloaded, SageError
from sage.base.ids import new_id
from sage.base.log import Log

DRAIN_RETRY_S = 5.0


class Entrance:
    """An ASGI application. `hot`: POST routes by path; `cold`: an ASGI application for the rest."""

    def __init__(
        self, bridge: Bridge, hot: Mapping[str, Route], cold: AsgiApp, rng: Random, log: Log, guard: Guard
    ) -> None:
        self.bridge = bridge
        self.is_draining = False
        self._hot = hot
        self._cold = cold
        self._log = log
        self._hosts = LocalHosts()
        self._guard = guard
        self._prefix = new_id("req", rng, num_chars=10)
        self._number = 0
        self._num_open = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def num_open(self) -> int:
        """How many requests have not been answered yet."""
        return self._num_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", scope["type"]  # neither lifespan nor websockets are switched on
        self._num_open += 1
        self._empty.clear()
        try:
            await self._answer(scope, receive, send)
        finally:
            self._num_open -= 1
            if self._num_open == 0:
                self._empty.set()

    async def drain(self, timeout_s: float) -> None:
        """Refuse new inference; wait for what is open, then end it with a typed error. Returns once nothing is open."""
        self.is_draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            self.bridge.fail_all(Overloaded("the server is stopping", "Ask again.", retry_after_s=DRAIN_RETRY_S))
            try:
                async with asyncio.timeout(1.0):
                    await self._empty.wait()
            except TimeoutError:
                self._log.warning("clients did not take their last answer", num_open=self._num_open)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._number += 1
        request_id = given_id(scope["headers"]) or f"{self._prefix}{self._number:06x}"
        exchange = Exchange(request_id, receive, send)
        route = self._hot.get(scope["path"])
        try:
            if not self._guard.needs_keys():  # whoever has a key may come by any name
                self._hosts.check(scope["headers"])
            caller = self._guard.caller(scope["path"], scope["headers"])
            if route is None:
                await self._answer_cold(scope, receive, send)
            else:
                self._admit(exchange, scope, caller)
                await route(exchange)
        except (AskerGone, ClientGone):
            return
        except SageError as error:
            await exchange.refuse(self._problem(error, request_id))
        except Exception:  # noqa: BLE001 - the last handler: whatever it was, the client is answered and we know of it
            self._log.exception("request failed", request_id=request_id, path=scope["path"])
            await exchange.refuse(problem_of(InternalError("unexpected"), request_id))

    async def _answer_cold(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._cold(scope, receive, send)
        except Exception:  # noqa: BLE001 - FastAPI has answered with a 500 by then, and raises it to be logged
            self._log.exception("request failed", path=scope["path"])

    def _admit(self, exchange: Exchange, scope: Scope, caller: Caller) -> None:
        if scope["method"] != "POST":
            what = f"{scope['path']} takes POST, not {scope['method']}."
            raise RequestRefused(what, reason="method_not_allowed", status=405)
        exchange.call = call_of(scope["headers"], caller)
        if not is_json(exchange.call.content_type):
            what = "The body must be JSON: send the header content-type: application/json."
            raise RequestRefused(what, param="content-type", reason="unsupported_media_type", status=415)
        if self.is_draining:
            raise Overloaded("the server is stopping", "Ask again.", retry_after_s=DRAIN_RETRY_S)

    def _problem(self, error: SageError, request_id: str) -> Problem:
        problem = problem_of(error, request_id)
        if problem.status >= 500:
            self._log.warning("request refused", request_id=request_id, code=error.code, what=error.what)
        return problem
