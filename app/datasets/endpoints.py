"""`/v1/datasets`."""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import Depends, File, Form, Query, Response, UploadFile
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from app.context import SLOT, CallerDep, Context, ContextDep, Limit, Listing, Number, listing
from app.datasets.schemas import DatasetAnswer, RowsAnswer
from app.datasets.service import rows_of, stored_table
from app.http.answers import Page, page_of
from app.http.bodies import require_form
from app.http.errors import problem_responses
from app.http.idempotency import IdempotencyKey, once
from app.http.routes import BodyClass, demands
from app.http.security import Caller, keyed_router
from app.http.uploads import Upload, UploadOptions, only_fields
from store import datasets
from store.access import quotas
from store.access.idempotency import Answer
from store.access.keys import Scope
from store.artifacts.artifact_store import discard

router = keyed_router("/v1/datasets", "datasets")

MAX_NAME_CHARACTERS = 200
NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes none in text


@router.post(
    "",
    status_code=201,
    response_model=DatasetAnswer,
    responses=problem_responses(413, 415, 422),
    dependencies=[
        Depends(require_form),
        Depends(only_fields("file", "name")),
        SLOT,
    ],
)
@demands(Scope.TRAIN, body=BodyClass.FILE)
def create_dataset(
    context: ContextDep,
    caller: CallerDep,
    file: Annotated[
        list[UploadFile],
        File(
            min_length=1,
            max_length=2,
            description=(
                "CSV, TSV, JSON records, Excel, Parquet, Arrow, NPZ, .npy or IDX, also in gzip or "
                "zip; two for IDX with labels."
            ),
        ),
    ],
    options: UploadOptions,
    name: Annotated[
        str | None, Form(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=NO_NUL)
    ] = None,
    key: IdempotencyKey = None,
) -> JSONResponse:
    """Upload a table. Its format and the types of its columns are detected."""
    chosen = name or _name_of(file[0]) or "dataset"

    with Upload(context.uploads, file) as upload:
        request = f"{upload.sha256} {chosen} {options.model_dump_json()}".encode()
        with once(
            context.database,
            key,
            tenant=caller.tenant,
            operation="POST /v1/datasets",
            request=request,
        ) as reservation:
            if reservation.replay is not None:
                return reservation.replay
            with context.database.read() as transaction:
                _require_dataset_quota(transaction, context, caller, upload)
            # Parsing takes long, so it ends before the transaction begins.
            with (
                stored_table(context, upload, options, tenant=caller.tenant) as fields,
                context.database.write() as transaction,
            ):
                _require_dataset_quota(transaction, context, caller, upload)
                dataset = DatasetAnswer.of(
                    datasets.create(transaction, tenant=caller.tenant, name=chosen, **fields)
                )
                location = {"Location": f"/v1/datasets/{dataset.id}"}
                answer = Answer(201, location, dataset.model_dump(mode="json"))
                return reservation.complete(transaction, answer)


@router.get("")
@demands(Scope.READ)
def list_datasets(
    context: ContextDep, caller: CallerDep, asked: Annotated[Listing, listing("ds")]
) -> Page[DatasetAnswer]:
    """Datasets, newest first, without their columns."""
    with context.database.read() as transaction:
        found = datasets.page(transaction, tenant=caller.tenant, **asked.part)
    return page_of([DatasetAnswer.listed(d) for d in found], [d.id for d in found], asked.limit)


@router.get("/{dataset_id}", responses=problem_responses(404))
@demands(Scope.READ)
def get_dataset(context: ContextDep, caller: CallerDep, dataset_id: str) -> DatasetAnswer:
    """A dataset and its columns."""
    with context.database.read() as transaction:
        return DatasetAnswer.of(datasets.get(transaction, dataset_id, tenant=caller.tenant))


@router.get("/{dataset_id}/rows", dependencies=[SLOT], responses=problem_responses(404))
@demands(Scope.READ)
def get_rows(
    context: ContextDep,
    caller: CallerDep,
    dataset_id: str,
    limit: Limit = 20,
    offset: Annotated[Number, Query(description="Rows to skip.")] = 0,
) -> RowsAnswer:
    """Rows as they were understood. A page of a wide table has fewer than `limit`."""
    with context.database.read() as transaction:
        dataset = datasets.get(transaction, dataset_id, tenant=caller.tenant)
    return rows_of(context, dataset, limit=limit, offset=offset)


@router.delete("/{dataset_id}", status_code=204, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def delete_dataset(context: ContextDep, caller: CallerDep, dataset_id: str) -> Response:
    """Delete a dataset that no unfinished job needs."""
    with context.database.write() as transaction:
        dataset = datasets.remove(transaction, dataset_id, tenant=caller.tenant)
    discard(context.artifacts, dataset.artifact)
    return Response(status_code=204)


def _name_of(file: UploadFile) -> str:
    """Return the file's own name, without its folder and what a dataset's name cannot have."""
    name = PurePosixPath(file.filename or "").name
    return name.replace("\0", "")[:MAX_NAME_CHARACTERS]


def _require_dataset_quota(
    transaction: Connection, context: Context, caller: Caller, upload: Upload
) -> None:
    """Raise QuotaExceeded if the caller may not keep what was uploaded."""
    quotas.require_dataset_quota(
        transaction,
        tenant=caller.tenant,
        size_bytes=upload.size_bytes,
        max_datasets=context.settings.tenant_datasets,
        max_bytes=context.settings.tenant_dataset_bytes,
    )
