"""A model on the wire."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.http.answers import Time
from dropout_core.config import MLPConfig, PreprocessingConfig
from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.features import (
    BooleanFeature,
    DatetimeFeature,
    Feature,
    NumericFeature,
    TextFeature,
)
from store.models import Model

Value = bool | int | float | str

_FEATURES: TypeAdapter[list[Feature]] = TypeAdapter(list[Feature])
_CROSS_VALIDATION = "cross_validation"

MAX_CATEGORIES = 20
"""The most categories that an answer lists for a feature: longer lists would swamp it."""


class CategoricalInput(BaseModel):
    """A categorical feature: the number of its categories, and the first of them."""

    type: Literal["categorical"] = "categorical"
    name: str
    stored_as: str
    num_categories: int
    categories: list[str] = Field(max_length=MAX_CATEGORIES)

    @classmethod
    def of(cls, feature: CategoricalFeature) -> Self:
        return cls(
            name=feature.name,
            stored_as=feature.stored_as,
            num_categories=len(feature.categories),
            categories=list(feature.categories[:MAX_CATEGORIES]),
        )


Input = Annotated[
    NumericFeature | BooleanFeature | DatetimeFeature | CategoricalInput | TextFeature,
    Field(discriminator="type"),
]


class ClassScores(BaseModel):
    """Scores of a class against all others, or of one of several labels; null where undefined."""

    model_config = ConfigDict(populate_by_name=True)

    class_: Value = Field(alias="class")
    num_rows: int
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    average_precision: float | None


class TargetScores(BaseModel):
    """Scores of one of several targets of a regression, in its units."""

    target: str
    rmse: float | None
    mae: float | None
    r2: float | None
    pinball_loss: float | None = None


class Bin(BaseModel):
    """The predictions whose confidence is in one range, and the share of them that is right."""

    lower: float
    upper: float
    num_rows: int
    mean_confidence: float
    accuracy: float


class ConformalScores(BaseModel):
    """How often the sets or intervals at a level contain the truth, and how large they are.

    `mean_size` counts the classes of a set; `mean_width` of intervals is null where it is infinite.
    """

    level: float
    coverage: float
    mean_size: float | None = None
    mean_width: float | None = None


class CalibrationAnswer(BaseModel):
    """What the validation rows taught the trained model.

    `temperature` divides the logits. `num_scores` of conformal predictions are kept; without any
    the model takes no `level`.
    """

    temperature: float = 1.0
    num_scores: int = 0


class EvaluationAnswer(BaseModel):
    """Scores on labelled rows, dropout off; a metric is null where these rows do not define it.

    The matrix is [true class][predicted class].
    """

    num_rows: int
    metrics: dict[str, float | None]
    confusion_matrix: list[list[int]] | None
    per_class: list[ClassScores] | None = None
    per_target: list[TargetScores] | None = None
    reliability: list[Bin] | None = None
    conformal: list[ConformalScores] | None = Field(None, exclude_if=lambda scores: scores is None)


class CrossValidationAnswer(BaseModel):
    """The evaluations of the folds, and each metric's mean and standard deviation over them.

    Fewer than `num_folds` were scored if the job ran out of time.
    """

    num_folds: int
    folds: list[EvaluationAnswer]
    mean: dict[str, float | None]
    standard_deviation: dict[str, float | None]


class ModelAnswer(BaseModel):
    """A trained model. `metrics` are by held-out split: `validation`, `test`.

    `target` is a name, or a list of names if there are several; `inputs` describe each feature as
    training saw it. `fingerprint` names the machine and the software that trained it; with the
    config, the data and the seed it decides the weights. `weights_sha256` is their checksum.

    `version` counts the models of a name; it is null if the name can have no versions. `aliases` of
    the name stand for this model. A model that is not `served` answers no predictions.

    `calibration` is null if the model was trained without `training.calibrate`.
    """

    model_config = ConfigDict(protected_namespaces=())

    id: str
    name: str | None
    version: int | None
    aliases: list[str]
    served: bool
    job: str
    task: str
    target: str | list[str]
    features: list[str]
    inputs: list[Input]
    classes: list[Value] | None
    quantiles: list[float] | None
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    metrics: dict[str, EvaluationAnswer]
    cross_validation: CrossValidationAnswer | None
    calibration: CalibrationAnswer | None
    num_parameters: int
    size_bytes: int
    weights_sha256: str
    fingerprint: str
    created_at: Time

    @classmethod
    def of(cls, model: Model, aliases: list[str]) -> Self:
        manifest = model.manifest
        targets = manifest["targets"]
        # Not strict: JSON has no tuples.
        features = _FEATURES.validate_python(manifest["encoder"]["features"], strict=False)
        metrics = dict(model.metrics)
        cross_validation = metrics.pop(_CROSS_VALIDATION, None)
        return cls(
            **{**vars(model), "metrics": metrics},
            aliases=aliases,
            job=model.job_id,
            task=manifest["task"],
            target=targets[0] if len(targets) == 1 else targets,
            features=[feature.name for feature in features],
            inputs=[
                CategoricalInput.of(feature) if feature.type == "categorical" else feature
                for feature in features
            ],
            classes=manifest["classes"],
            quantiles=manifest.get("quantiles"),
            config=MLPConfig.model_validate(manifest["model"]).every_value(),
            preprocessing=PreprocessingConfig.model_validate(
                manifest["preprocessing"]
            ).every_value(),
            cross_validation=cross_validation,
            calibration=manifest.get("calibration"),
            weights_sha256=manifest["weights_sha256"],
            fingerprint=manifest["trained_on"],
        )
