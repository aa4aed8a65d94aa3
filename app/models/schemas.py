"""A model on the wire."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from app.schemas import Time
from store.models import Model


class EvaluationAnswer(BaseModel):
    """Scores on labelled rows, dropout off. The matrix is [true class][predicted class]."""

    num_rows: int
    metrics: dict[str, float]
    confusion_matrix: list[list[int]] | None


class ModelAnswer(BaseModel):
    """A trained model. `metrics` are by held-out split: `validation`, `test`.

    `fingerprint` names where it was trained; with the config, the data and the seed it decides the
    weights, of which `weights_sha256` is the checksum.
    """

    model_config = ConfigDict(protected_namespaces=())

    id: str
    name: str | None
    job: str
    task: str
    target: str
    features: list[str]
    classes: list[bool | int | float | str] | None
    config: dict[str, Any]
    metrics: dict[str, EvaluationAnswer]
    num_parameters: int
    size_bytes: int
    weights_sha256: str
    fingerprint: str
    created_at: Time

    @classmethod
    def of(cls, model: Model) -> Self:
        manifest = model.manifest
        return cls(
            id=model.id,
            name=model.name,
            job=model.job_id,
            task=manifest["task"],
            target=manifest["target"],
            features=manifest["features"],
            classes=manifest["classes"],
            config=manifest["model"],
            metrics=model.metrics,
            num_parameters=model.num_parameters,
            size_bytes=model.size_bytes,
            weights_sha256=manifest["weights_sha256"],
            fingerprint=manifest["trained_on"],
            created_at=model.created_at,
        )
