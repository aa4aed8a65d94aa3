"""Schemas of the protocol's answers and, for the documentation, of its requests.

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
_CONFIG_NAMES = {"BYTES": "STRING"}  # in Triton's configuration; other names are the same


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
    """-1 stands for any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelDetails(BaseModel):
    """Details that tensors lack: the order of the features, and the classes of `probabilities`."""

    task: str
    features: list[str]
    targets: list[str]
    classes: list[bool | int | float | str] | None
    fingerprint: str


class ModelMetadata(BaseModel):
    """An FP64 input takes any numeric datatype, which is cast; a BOOL input takes 0 and 1 too."""

    name: str
    versions: list[str]
    platform: str = "pytorch"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelDetails

    @classmethod
    def of(cls, name: str, versions: list[str], predictor: Predictor) -> Self:
        description = predictor.description
        return cls(
            name=name,
            versions=versions,
            inputs=_inputs(description),
            outputs=_outputs(description),
            parameters=ModelDetails(
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
    """A `max_batch_size` of 0 says that `dims` include the rows."""

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


class InferenceDurations(BaseModel):
    """`compute_infer` includes the time in the queue."""

    success: Total
    fail: Total
    queue: Total
    compute_input: Total
    compute_infer: Total
    compute_output: Total


class ModelStatisticsAnswer(BaseModel):
    """`last_inference` is in milliseconds since 1970; `inference_count` counts rows."""

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
                success=totals.success,
                fail=totals.fail,
                queue=Total(count=totals.success.count),
                compute_input=totals.read,
                compute_infer=totals.compute,
                compute_output=totals.write,
            ),
        )


class StatisticsAnswer(BaseModel):
    """Counts of the process that answers, since its start; other processes have their own."""

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


class AnswerDetails(BaseModel):
    fingerprint: str


class InferAnswer(BaseModel):
    """The answer; binary data of the outputs follow it in their order."""

    model_name: str
    model_version: str
    id: str | None = Field(None, description="The id of the request.")
    parameters: AnswerDetails
    outputs: list[OutputAnswer]


class InferParameters(BaseModel):
    """Parameters other than these are ignored."""

    missing: Literal["refuse", "impute"] = Field(
        "refuse",
        description="What to do with a missing value where no row of the model's table missed one.",
    )
    binary_data_output: bool = Field(False, description="The default for all outputs.")


class InputParameters(BaseModel):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class InputTensor(Config):
    """`data`, flat in row-major order or nested like `shape`; or `binary_data_size`."""

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
    """Tensors: one `input` of all features if they are numbers, or one for each feature's name.

    A feature without a tensor is missing. Without `outputs` the answer has all outputs. Binary data
    of inputs follow this JSON in the order of the inputs; the header
    `Inference-Header-Content-Length` then has the length of the JSON.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str | None = None
    parameters: InferParameters | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1)]
    outputs: list[RequestedOutput] | None = None


class IndexBody(Config):
    ready: bool = Field(False, description="Only models that are ready.")


class LoadParameters(Config):
    """There are no parameters: training decides everything about a model."""


class LoadBody(Config):
    parameters: LoadParameters = LoadParameters()


class UnloadParameters(Config):
    """No model depends on another."""

    unload_dependents: bool = False


class UnloadBody(Config):
    parameters: UnloadParameters = UnloadParameters()


def _inputs(description: Description) -> list[TensorMetadata]:
    """Return one tensor of all features if they are numbers, else one for each feature."""
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
