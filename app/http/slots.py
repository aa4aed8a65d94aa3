"""Slots for slow requests, so that the others have threads left, shared between tenants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.http.errors import RequestError

NUM_SLOTS = 8  # which leaves 32 of the 40 threads to others
TENANT_SLOTS = 6
MAX_EXPORTS = 2  # each uses a core, and several times the memory of the model
SLOT_SECONDS = 20.0  # to wait for a slot


class Slots:
    """Slots of which a tenant may hold some, but not all.

    Of the requests that wait, the next is one of the tenant that holds the fewest slots.
    """

    def __init__(self, num_slots: int = NUM_SLOTS, *, for_tenant: int = TENANT_SLOTS) -> None:
        self._num_slots = num_slots
        self._for_tenant = for_tenant
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot for the block. Raises RequestError (503) if none becomes free in time."""
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await self.acquire(tenant)
        except TimeoutError as error:
            detail = f"{self._held.total()} requests of this kind are running already; try again"
            raise RequestError(503, "busy", detail) from error
        try:
            yield
        finally:
            self.release(tenant)

    async def acquire(self, tenant: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant, turn))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release(tenant)
            raise

    def release(self, tenant: str) -> None:
        self._held[tenant] -= 1
        self._held += Counter()  # forget tenants that hold none
        self._grant()

    def _grant(self) -> None:
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].cancelled()]
        while self._waiting and self._held.total() < self._num_slots:
            chosen = min(self._waiting, key=lambda waiting: self._held[waiting[0]])
            tenant, turn = chosen
            if self._held[tenant] >= self._for_tenant:
                return
            self._waiting.remove(chosen)
            self._held[tenant] += 1
            turn.set_result(None)
