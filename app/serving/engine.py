"""From a reference and rows to predictions: what every endpoint that predicts goes through."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import structlog
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from app.http.errors import RequestError
from app.serving.batches import MAX_BATCH_ROWS, Batches
from app.serving.predictors import Predictors
from dropout_core.errors import ModelError
from dropout_core.model.predictor import TILES, Predictor
from store import models
from store.database.engine import Database
from store.errors import ModelUnloaded, StoreError
from store.models import Model

REMEMBERED_SECONDS = 1.0  # that what a name stands for may be out of date in another process
LOAD_SECONDS = 10.0  # that a request waits for a model to be loaded
WARM_UP_SECONDS = 20.0  # before a process answers
MAX_OUTPUTS = 10_000_000  # numbers of an answer
_MAX_WARM = 1_000
_MAX_REMEMBERED = 10_000
_QUICK_PRODUCTS = 2**26  # multiplications of a batch, which take about a millisecond

log = structlog.get_logger()


@dataclass(frozen=True)
class Served:
    """A model as it is on record, and loaded."""

    model: Model
    predictor: Predictor


class Serving:
    """Finds models, loads them, and has rows computed. For one event loop."""

    def __init__(self, database: Database, predictors: Predictors) -> None:
        self._database = database
        self._predictors = predictors
        self._remembered: dict[tuple[str, str], tuple[Model, float]] = {}
        self._looking: dict[tuple[str, str], asyncio.Future[Model]] = {}
        self._num_changes = 0
        self._quick = Batches(None)
        self._long = Batches(ThreadPoolExecutor(1, thread_name_prefix="predict"))

    async def find(self, reference: str, *, tenant: str) -> Served:
        """The model of an id, `NAME`, `NAME@VERSION` or `NAME@ALIAS`; see `models.resolve`.

        Raises ModelNotFound, ModelUnloaded, RequestError (503) if it takes long to load, and
        ModelError if it cannot be served here.
        """
        model = _in_service(await self._resolve(tenant, reference))
        return Served(model, self._predictors.loaded(model.id) or await self._load(model))

    def model_of(self, reference: str, *, tenant: str) -> Model:
        """What the reference stands for at this moment, for who is in a thread.

        Raises ModelNotFound and ModelUnloaded.
        """
        return _in_service(self._look_up(reference, tenant))

    async def outputs(self, served: Served, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """`Predictor.outputs`: (N, V + K) -> (N, C). Raises RequestError (503) if too much waits.

        What takes long is computed in a thread, beside what does not.
        """
        quick_rows = _QUICK_PRODUCTS // served.model.num_parameters
        is_quick = max(matrix.shape[0], min(TILES)) <= quick_rows
        lane, max_rows = (self._quick, quick_rows) if is_quick else (self._long, MAX_BATCH_ROWS)
        return await lane.outputs(served.predictor, matrix, max_rows=min(max_rows, MAX_BATCH_ROWS))

    def forget_names(self, tenant: str) -> None:
        """Look up again what the tenant's references stand for."""
        self._num_changes += 1
        self._looking.clear()  # what was begun before may find what was
        for key in [key for key in self._remembered if key[0] == tenant]:
            del self._remembered[key]

    async def warm_up(self) -> None:
        """Load what aliases stand for, the newest first, as far as there is room and time."""
        try:
            aliased = await run_in_threadpool(self._look_up_aliased)
        except SQLAlchemyError as error:
            log.warning("the database does not tell which models to load", error=str(error))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(WARM_UP_SECONDS):
                for model in self._predictors.fitting(aliased):
                    await self._warm(model)

    async def _warm(self, model: Model) -> None:
        try:
            await self._load(model)
        except (StoreError, RequestError, ModelError, OSError) as error:
            log.warning("a model cannot be served", model=model.id, error=str(error))

    async def _resolve(self, tenant: str, reference: str) -> Model:
        """What the reference stands for, looked up once for all who ask meanwhile."""
        key = tenant, reference
        model, until = self._remembered.get(key, (None, 0.0))
        if model is not None and time.monotonic() < until:
            return model
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.ensure_future(self._look(key))
        return await asyncio.shield(looking)

    async def _look(self, key: tuple[str, str]) -> Model:
        tenant, reference = key
        num_changes = self._num_changes
        try:
            model = await run_in_threadpool(self._look_up, reference, tenant)
        except BaseException:
            self._remembered.pop(key, None)
            raise
        finally:
            if num_changes == self._num_changes:
                del self._looking[key]
        if num_changes == self._num_changes:
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
            raise RequestError(
                503, "model_loading", "the model is being loaded; try again"
            ) from error


def _in_service(model: Model) -> Model:
    if not model.served:
        raise ModelUnloaded(model.id)
    return model


def require_room(served: Served, num_rows: int) -> None:
    """Raise RequestError (413) if the answer would be larger than any may."""
    num_outputs = served.predictor.description.num_outputs
    if num_rows * num_outputs > MAX_OUTPUTS:
        detail = f"{num_rows} rows have {num_outputs} numbers each, and an answer {MAX_OUTPUTS}"
        raise RequestError(413, "answer_too_large", detail)
