"""Find models, load them, and compute predictions for every endpoint that predicts."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import structlog
from anyio import to_thread
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from app.serving.errors import AnswerTooLarge, ModelLoading, ServingError
from app.serving.prediction_queue import MAX_BATCH_ROWS, PredictionQueue
from app.serving.predictors import Predictors
from dropout_core.errors import ModelError
from dropout_core.model.predictor import TILES, Predictor
from store import models
from store.database.engine import Database
from store.errors import ModelUnloaded, StoreError
from store.models import Model

REMEMBERED_SECONDS = 1.0  # until a change by another process is seen, at most
LOAD_SECONDS = 10.0  # that a request waits for a model to be loaded
WARM_UP_SECONDS = 20.0  # that a process loads models before it answers
MAX_OUTPUTS = 10_000_000  # numbers in an answer
QUICK_BYTES = 1024**2  # read or written on the event loop, in a few milliseconds
_MAX_WARM = 1_000
_MAX_REMEMBERED = 10_000
_QUICK_PRODUCTS = 2**26  # multiplications of a batch, which take about a millisecond

Result = TypeVar("Result")

log = structlog.get_logger()


@dataclass(frozen=True)
class ServedModel:
    """A model's record, and its predictor."""

    model: Model
    predictor: Predictor

    @property
    def num_products(self) -> int:
        """An upper bound of the products of one row: members of a backbone use each weight."""
        config = self.predictor.description.model
        return self.model.num_parameters * (config.members if config.has_backbone else 1)

    def require_room(self, num_rows: int) -> None:
        """Raise AnswerTooLarge if the predictions of so many rows have more than MAX_OUTPUTS."""
        num_outputs = self.predictor.description.num_outputs
        if num_rows * num_outputs > MAX_OUTPUTS:
            raise AnswerTooLarge(num_rows, num_outputs=num_outputs, limit=MAX_OUTPUTS)


class ModelServer:
    """Find models, load them, and compute their outputs. For one event loop."""

    def __init__(self, database: Database, predictors: Predictors) -> None:
        self._database = database
        self._predictors = predictors
        self._remembered: dict[tuple[str, str], tuple[Model, float]] = {}
        self._looking: dict[tuple[str, str], asyncio.Task[Model]] = {}
        self._quick = PredictionQueue(None)
        self._long = PredictionQueue(ThreadPoolExecutor(1, thread_name_prefix="predict"))

    async def find(self, reference: str, *, tenant: str) -> ServedModel:
        """Return the model of an id, `NAME`, `NAME@VERSION` or `NAME@ALIAS`; see `models.resolve`.

        Raises ModelNotFound, ModelUnloaded, ModelLoading if it takes long to load, and ModelError
        if it cannot be served here.
        """
        model = _require_served(await self._resolve(tenant, reference))
        return ServedModel(model, self._predictors.loaded(model.id) or await self._load(model))

    def model_of(self, reference: str, *, tenant: str) -> Model:
        """Look the model of the reference up. This blocks: call it in a thread.

        Raises ModelNotFound and ModelUnloaded.
        """
        return _require_served(self._look_up(reference, tenant))

    async def outputs(
        self, served: ServedModel, matrix: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return `Predictor.outputs`: (N, V + K) -> (N, C). Raises QueueFull.

        Long computations have a queue of their own, in a thread, so that quick ones do not wait.
        """
        quick_rows = _QUICK_PRODUCTS // served.num_products
        is_quick = max(matrix.shape[0], min(TILES)) <= quick_rows
        queue, max_rows = (self._quick, quick_rows) if is_quick else (self._long, MAX_BATCH_ROWS)
        return await queue.outputs(served.predictor, matrix, max_rows=min(max_rows, MAX_BATCH_ROWS))

    def forget_names(self, tenant: str) -> None:
        """Forget the models of the tenant's references: the next request looks them up."""
        # A look-up that began before the change may miss it: it answers those who wait, no others.
        for known in (self._looking, self._remembered):
            for key in [key for key in known if key[0] == tenant]:
                del known[key]

    async def warm_up(self) -> None:
        """Load the models of aliases, the newest first, within the limits of memory and time."""
        try:
            aliased = await to_thread.run_sync(self._look_up_aliased)
        except SQLAlchemyError as error:
            log.warning("the models of aliases cannot be looked up", error=str(error))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(WARM_UP_SECONDS):
                for model in self._predictors.fitting(aliased):
                    await self._warm(model)

    async def _warm(self, model: Model) -> None:
        try:
            await self._load(model)
        except (StoreError, ServingError, ModelError, OSError) as error:
            log.warning("a model cannot be served", model=model.id, error=str(error))

    async def _resolve(self, tenant: str, reference: str) -> Model:
        """Return the model of the reference; requests at the same time share one look-up."""
        key = tenant, reference
        model, until = self._remembered.get(key, (None, 0.0))
        if model is not None and time.monotonic() < until:
            return model
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.create_task(self._look(key))
            looking.add_done_callback(_retrieve)
        return await asyncio.shield(looking)

    async def _look(self, key: tuple[str, str]) -> Model:
        """Look the model up and remember it, unless the key is forgotten meanwhile."""
        tenant, reference = key
        self._remembered.pop(key, None)
        try:
            model = await to_thread.run_sync(self._look_up, reference, tenant)
        finally:
            is_current = self._looking.get(key) is asyncio.current_task()
            if is_current:
                del self._looking[key]
        if is_current:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = model, time.monotonic() + REMEMBERED_SECONDS
        return model

    def _look_up(self, reference: str, tenant: str) -> Model:
        with self._database.read() as transaction:
            return models.resolve(transaction, reference, tenant=tenant)

    def _look_up_aliased(self) -> list[Model]:
        with self._database.read() as transaction:
            return models.aliased(transaction, limit=_MAX_WARM)

    async def _load(self, model: Model) -> Predictor:
        loading = asyncio.wrap_future(self._predictors.load(model))
        try:
            return await asyncio.wait_for(asyncio.shield(loading), LOAD_SECONDS)
        except TimeoutError as error:
            raise ModelLoading(model.id) from error


async def run_inline_or_in_thread(
    is_quick: bool, function: Callable[..., Result], *arguments: Any
) -> Result:
    """Call a quick function on the event loop, any other in a thread so that others do not wait."""
    if is_quick:
        return function(*arguments)
    return await to_thread.run_sync(function, *arguments)


def _retrieve(looking: asyncio.Task[Model]) -> None:
    """Take the error of a look-up whose callers have left, or asyncio logs it."""
    if not looking.cancelled():
        looking.exception()


def _require_served(model: Model) -> Model:
    if not model.served:
        raise ModelUnloaded(model.id)
    return model
