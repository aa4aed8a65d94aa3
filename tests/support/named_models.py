"""Models with versions and aliases, in the store of an API in this process."""

from dropout_core.model.saved_model import save_model
from store import models
from store.access.keys import DEFAULT_TENANT
from store.ids import new_id
from store.models import TrainedModel
from tests.support.in_process import TestClient
from tests.support.served_models import make_model

PRODUCTION = "/v1/names/flowers/aliases/production"
ROWS = {"instances": [[1.0, 2.0, 3.0, 4.0, 5.0]]}


def new_version(client: TestClient, name: str = "flowers") -> models.Model:
    """Store a new version under a name, as a job does."""
    context = client.app.state.context  # type: ignore[attr-defined]
    job_id = new_id("job")
    artifact = f"jobs/{job_id}/1/model"
    manifest = save_model(context.settings.artifact_root / artifact, *make_model())
    trained = TrainedModel(
        manifest=manifest.model_dump(mode="json"),
        metrics={},
        num_parameters=100,
        size_bytes=400,
        artifact=artifact,
    )
    with context.database.write() as transaction:
        return models.create(transaction, trained, tenant=DEFAULT_TENANT, job_id=job_id, name=name)


def unload(client: TestClient, reference: str) -> None:
    with client.app.state.context.database.write() as transaction:  # type: ignore[attr-defined]
        models.set_served(transaction, reference, False, tenant=DEFAULT_TENANT)
