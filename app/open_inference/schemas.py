"""What the protocol's answers look like, and what is asked, for the documentation.

Names and spellings are those of KServe's specification and of Triton's extensions.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from app.open_inference.inputs import INPUT
from app.open_inference.outputs import output_tensors
from app.open_inference.references import Version, listed
from app.open_inference.tensors import DATATYPES
from app.serving.statistics import ModelStatistics, Statistics, Total
from dropout_core.config import Config, FeatureType
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Description
from store.models import IndexEntry

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]

_DATATYPE_OF: dict[FeatureType, str] = {
    "numeric": "FP64",
    "boolean": "BOOL",
    "categorical": "BYTES",
    "datetime": "BYTES",
    "text": "BYTES",
}
_EXAMPLE: dict[str, Any] = {
    "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [2, 2], "data": [5.1, 3.5, 6.7, 3.1]}]
}
_CONFIG_NAMES = {"BYTES": "STRING"}  # of Triton's configuration; the others are the same


class ServerMetadata(BaseModel):
    name: str = "dropout-service"
    version: str
    extensions: list[str] = EXTENSIONS


class Live(BaseModel):
    live: Literal[True] = True


class ServerReady(BaseModel):
    ready: Literal[True] = True


class ModelReady(BaseModel):
    name: str
    ready: Literal[True] = True


class TensorMetadata(BaseModel):
    """-1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelFacts(BaseModel):
    """What tensors do not say: the order of the features, and what `probabilities` are of."""

    task: str
    features: list[str]
    targets: list[str]
    classes: list[bool | int | float | str] | None
    fingerprint: str


class ModelMetadata(BaseModel):
    """Any numeric datatype is taken where FP64 is told, and cast; numbers for BOOL, if 0 or 1."""

    name: str
    versions: list[str]
    platform: str = "pytorch"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelFacts

    @classmethod
    def of(cls, name: str, versions: list[str], predictor: Predictor) -> Self:
        description = predictor.description
        return cls(
            name=name,
            versions=versions,
            inputs=_inputs(description),
            outputs=_outputs(description),
            parameters=ModelFacts(
                task=description.task,
                features=list(description.features),
                targets=list(description.targets),
                classes=None if description.classes is None else list(description.classes),
                fingerprint=predictor.fingerprint,
            ),
        )


class TensorConfig(BaseModel):
    name: str
    data_type: str
    dims: list[int]

    @classmethod
    def of(cls, tensor: TensorMetadata) -> Self:
        datatype = _CONFIG_NAMES.get(tensor.datatype, tensor.datatype)
        return cls(name=tensor.name, data_type=f"TYPE_{datatype}", dims=tensor.shape)


class ModelConfig(BaseModel):
    """With a `max_batch_size` of 0 the rows are a part of `dims`."""

    name: str
    platform: str = "pytorch"
    backend: str = "pytorch"
    max_batch_size: int = 0
    input: list[TensorConfig]
    output: list[TensorConfig]

    @classmethod
    def of(cls, name: str, description: Description) -> Self:
        return cls(
            name=name,
            input=[TensorConfig.of(tensor) for tensor in _inputs(description)],
            output=[TensorConfig.of(tensor) for tensor in _outputs(description)],
        )


class DurationAnswer(BaseModel):
    count: int
    ns: int

    @classmethod
    def of(cls, total: Total) -> Self:
        return cls(count=total.count, ns=total.ns)


class InferenceDurations(BaseModel):
    """The time in a queue is a part of `compute_infer`."""

    success: DurationAnswer
    fail: DurationAnswer
    queue: DurationAnswer
    compute_input: DurationAnswer
    compute_infer: DurationAnswer
    compute_output: DurationAnswer


class ModelStatisticsAnswer(BaseModel):
    """`last_inference` is in milliseconds since 1970; `inference_count` are rows."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceDurations

    @classmethod
    def of(cls, version: Version, totals: ModelStatistics) -> Self:
        return cls(
            name=version.name,
            version=version.version,
            last_inference=int(totals.last_at * 1000),
            inference_count=totals.num_rows,
            execution_count=totals.success.count,
            inference_stats=InferenceDurations(
                success=DurationAnswer.of(totals.success),
                fail=DurationAnswer.of(totals.fail),
                queue=DurationAnswer(count=totals.success.count, ns=0),
                compute_input=DurationAnswer.of(totals.read),
                compute_infer=DurationAnswer.of(totals.compute),
                compute_output=DurationAnswer.of(totals.write),
            ),
        )


class StatisticsAnswer(BaseModel):
    """Counted by the process that answers since it started; there may be several."""

    model_stats: list[ModelStatisticsAnswer]

    @classmethod
    def of(cls, versions: list[Version], statistics: Statistics) -> Self:
        return cls(
            model_stats=[
                ModelStatisticsAnswer.of(version, statistics.of(version.model_id))
                for version in versions
            ]
        )


class RepositoryEntry(BaseModel):
    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str

    @classmethod
    def of(cls, entry: IndexEntry) -> Self:
        version = listed(entry)
        return cls(
            name=version.name,
            version=version.version,
            state="READY" if entry.served else "UNAVAILABLE",
            reason="" if entry.served else "unloaded",
        )


class Loaded(BaseModel):
    name: str
    load: Literal[True] = True


class Unloaded(BaseModel):
    name: str
    unload: Literal[True] = True


class OutputAnswer(BaseModel):
    """`data` in row-major order, or the parameter `binary_data_size`."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[bool | int | float | str] | None = None


class AnswerFacts(BaseModel):
    fingerprint: str


class InferAnswer(BaseModel):
    """The answer; binary data of outputs follow it in their order."""

    model_name: str
    model_version: str
    id: str | None = Field(None, description="That of the request.")
    parameters: AnswerFacts
    outputs: list[OutputAnswer]


class InferParameters(BaseModel):
    """Those of others that are not known here are passed over."""

    missing: Literal["refuse", "impute"] = Field(
        "refuse", description="What becomes of a value that training saw none missing of."
    )
    binary_data_output: bool = Field(False, description="For outputs that do not say themselves.")


class InputParameters(BaseModel):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class InputTensor(Config):
    """`data`, flat in row-major order or nested as `shape` is, or the parameter of binary data."""

    name: str
    datatype: Literal[DATATYPES]  # type: ignore[valid-type]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=2)]
    parameters: InputParameters | None = None
    data: list[bool | float | str | list[Any] | None] | None = None


class OutputParameters(BaseModel):
    binary_data: bool | None = None


class RequestedOutput(Config):
    name: str
    parameters: OutputParameters | None = None


class InferBody(Config):
    """Tensors: all features as `input` where they are numbers, or one of each feature by its name.

    What is not given is missing. Without `outputs` the answer has all. Binary data of inputs follow
    this JSON in the order of the inputs; `Inference-Header-Content-Length` is then its length.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str | None = None
    parameters: InferParameters | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1)]
    outputs: list[RequestedOutput] | None = None


class IndexBody(Config):
    ready: bool = Field(False, description="Only models that are ready.")


class LoadParameters(Config):
    """There are none: a model is what its training made of it."""


class LoadBody(Config):
    parameters: LoadParameters = LoadParameters()


class UnloadParameters(Config):
    """No model depends on another."""

    unload_dependents: bool = False


class UnloadBody(Config):
    parameters: UnloadParameters = UnloadParameters()


def _inputs(description: Description) -> list[TensorMetadata]:
    """One tensor of all features that are numbers, or else one of each feature."""
    features = description.encoder.features
    if description.encoder.is_numeric:
        return [TensorMetadata(name=INPUT, datatype="FP64", shape=[-1, len(features)])]
    return [
        TensorMetadata(name=f.name, datatype=_DATATYPE_OF[f.type], shape=[-1]) for f in features
    ]


def _outputs(description: Description) -> list[TensorMetadata]:
    return [
        TensorMetadata(name=output.name, datatype=output.datatype, shape=[-1, *output.shape])
        for output in output_tensors(description)
    ]
