"""The Triton client as it is published, sync and aio, which was not made for this service."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

from tests.support import tables
from tests.support.service import SETTINGS, Service

LENGTHS = np.array([[1.5, 0.25], [4.3, 1.3], [5.6, 2.0]])
KINDS = [kind.encode() for kind in tables.KINDS]
MANY = np.tile(LENGTHS, (500, 1))

Client = triton.InferenceServerClient


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(address_of(service)) as client:
        yield client


@pytest.fixture(scope="module")
def expected(live: httpx.Client, flower_model: dict[str, Any]) -> np.ndarray:
    """Probabilities of the rows MANY, as the service itself tells them."""
    path = f"/v1/models/{flower_model['id']}/predict"
    answer = live.post(path, json={"instances": LENGTHS.tolist()}).json()
    return np.tile(np.array(answer["probabilities"]), (500, 1))


def address_of(service: Service) -> str:
    return service.address.removeprefix("http://")


def rows(values: np.ndarray, datatype: str = "FP64", *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("input", list(values.shape), datatype)
    return tensor.set_data_from_numpy(values, binary_data=binary)


def columns(values: np.ndarray) -> list[triton.InferInput]:
    """One input of each feature: the first as bytes, the second in JSON."""
    tensors = []
    for name, column, binary in zip(
        ("petal_length", "petal_width"), values.T, (True, False), strict=True
    ):
        tensor = triton.InferInput(name, [len(column)], "FP64")
        tensors.append(tensor.set_data_from_numpy(column.copy(), binary_data=binary))
    return tensors


def wanted(*, binary: bool) -> list[triton.InferRequestedOutput]:
    names = ("probabilities", "prediction")
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


CALLS: dict[str, dict[str, Any]] = {
    "binary": {},
    "binary in, JSON out": {"outputs": wanted(binary=False)},
    "mixed out": {"outputs": [wanted(binary=False)[0], wanted(binary=True)[1]]},
    "gzip": {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"},
    "deflate": {
        "request_compression_algorithm": "deflate",
        "response_compression_algorithm": "deflate",
    },
    "gzip out alone": {"response_compression_algorithm": "gzip", "outputs": wanted(binary=False)},
}


def assert_same(result: triton.InferResult, expected: np.ndarray) -> None:
    probabilities = result.as_numpy("probabilities")
    assert probabilities.dtype == np.float64
    assert probabilities.tobytes() == expected.tobytes()
    kinds = [
        kind.encode() if isinstance(kind, str) else kind for kind in result.as_numpy("prediction")
    ]
    assert kinds == KINDS * (len(expected) // len(KINDS))


def refusal(client: Client, *arguments: Any, status: str, **options: Any) -> str:
    with pytest.raises(InferenceServerException) as refused:
        client.infer(*arguments, **options)
    assert refused.value.status() == status
    message: str = refused.value.message()
    return message


def test_the_server_tells_of_itself(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "dropout-service"
    assert "binary_tensor_data" in metadata["extensions"]


def test_a_model_tells_of_itself(client: Client, flower_model: dict[str, Any]) -> None:
    for name, version in ((flower_model["id"], ""), (flower_model["id"], "1"), ("flowers", "")):
        assert client.is_model_ready(name, version)
        metadata = client.get_model_metadata(name, version)
        assert metadata["name"] == name
        assert "1" in metadata["versions"]
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
        config = client.get_model_config(name, version)
        assert [tensor["name"] for tensor in config["output"]] == ["probabilities", "prediction"]
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready(flower_model["id"], "2")


@pytest.mark.parametrize("call", CALLS)
def test_rows_are_predicted_to_the_bit(
    client: Client, flower_model: dict[str, Any], expected: np.ndarray, call: str
) -> None:
    assert_same(client.infer(flower_model["id"], [rows(MANY)], **CALLS[call]), expected)


def test_rows_in_json_and_columns_in_both_are_the_same(
    client: Client, flower_model: dict[str, Any], expected: np.ndarray
) -> None:
    few = expected[: len(LENGTHS)]
    for outputs in (None, wanted(binary=False)):
        in_json = [rows(LENGTHS, binary=False)]
        assert_same(client.infer(flower_model["id"], in_json, outputs=outputs), few)
        mixed = columns(LENGTHS)
        assert_same(client.infer(flower_model["id"], mixed, outputs=outputs), few)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", np.float32), ("INT16", np.int16)])
def test_other_datatypes_are_cast(
    client: Client, flower_model: dict[str, Any], datatype: str, dtype: type, binary: bool
) -> None:
    values = LENGTHS.astype(dtype)
    told = client.infer(flower_model["id"], [rows(values, datatype, binary=binary)])
    same = client.infer(flower_model["id"], [rows(values.astype(np.float64))])
    assert told.as_numpy("probabilities").tobytes() == same.as_numpy("probabilities").tobytes()


def test_texts_are_taken_in_json_and_in_bytes(
    client: Client, live: httpx.Client, people_model: dict[str, Any]
) -> None:
    path = f"/v1/models/{people_model['id']}/predict"
    row = {"city": "Oslo", "age": 70, "since": "2024-03-01", "member": True}
    expected = live.post(path, json={"instances": [row]}).json()["probabilities"]
    datatypes = {"city": "BYTES", "age": "INT64", "since": "BYTES", "member": "BOOL"}
    for binary in (True, False):
        tensors = []
        for name, datatype in datatypes.items():
            values = np.array([row[name]], dtype=object if datatype == "BYTES" else None)
            tensor = triton.InferInput(name, [1], datatype)
            tensors.append(tensor.set_data_from_numpy(values, binary_data=binary))
        told = client.infer(people_model["id"], tensors).as_numpy("probabilities")
        assert told.tolist() == expected


def test_a_request_keeps_its_id_and_its_version(
    client: Client, flower_model: dict[str, Any]
) -> None:
    version = str(flower_model["version"])
    result = client.infer("flowers", [rows(LENGTHS)], model_version=version, request_id="seven")
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == (
        "seven",
        "flowers",
        version,
    )


def test_missing_values_are_imputed_if_asked(client: Client, flower_model: dict[str, Any]) -> None:
    hole = np.array([[4.3, np.nan]])
    for binary in (True, False):
        tensor = rows(hole, binary=binary)
        message = refusal(client, flower_model["id"], [tensor], status="400")
        assert "row 1, column 'petal_width': a value is missing" in message
        told = client.infer(flower_model["id"], [tensor], parameters={"missing": "impute"})
        assert told.as_numpy("probabilities").sum() == pytest.approx(1)


def test_errors_are_told_in_words(client: Client, flower_model: dict[str, Any]) -> None:
    model = flower_model["id"]
    assert "nobody" in refusal(client, "nobody", [rows(LENGTHS)], status="404")
    size = triton.InferInput("size", [1], "FP64").set_data_from_numpy(np.ones(1))
    assert "input 'size'" in refusal(client, model, [size], status="400")
    assert "[-1, 2]" in refusal(client, model, [rows(np.ones((1, 3)))], status="400")
    outputs = [triton.InferRequestedOutput("logits")]
    assert "logits" in refusal(client, model, [rows(LENGTHS)], outputs=outputs, status="400")
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    message = refusal(client, model, [rows(LENGTHS)], outputs=outputs, status="400")
    assert "classification is not supported" in message
    shared = triton.InferInput("input", [1, 2], "FP64").set_shared_memory("region", 16)
    assert "shared memory is not supported" in refusal(client, model, [shared], status="400")
    message = refusal(client, model, [rows(LENGTHS)], sequence_id=3, status="400")
    assert "sequence_id" in message
    huge = [rows(np.zeros((SETTINGS["max_request_bytes"], 2)))]
    for compression in (None, "gzip"):
        options = {"request_compression_algorithm": compression}
        assert "bytes" in refusal(client, model, huge, status="413", **options)
    with pytest.raises(InferenceServerException, match="404"):
        client.get_trace_settings()


def test_models_are_unloaded_and_loaded(client: Client, flower_model: dict[str, Any]) -> None:
    model = flower_model["id"]
    entry = {"name": flower_model["name"], "version": str(flower_model["version"])}
    ready, unloaded = (
        {"state": "READY", "reason": ""},
        {"state": "UNAVAILABLE", "reason": "unloaded"},
    )
    assert entry | ready in client.get_model_repository_index()
    client.unload_model(model)
    try:
        assert entry | unloaded in client.get_model_repository_index()
        assert not client.is_model_ready(model)
        assert "unloaded" in refusal(client, model, [rows(LENGTHS)], status="409")
    finally:
        client.load_model(model)
    assert client.is_model_ready(model)
    assert entry | ready in client.get_model_repository_index()
    with pytest.raises(InferenceServerException, match="config"):
        client.load_model(model, config="{}")
    with pytest.raises(InferenceServerException, match="nobody"):
        client.unload_model("nobody")


def test_requests_are_counted(client: Client, flower_model: dict[str, Any]) -> None:
    model = flower_model["id"]
    client.infer(model, [rows(LENGTHS)])
    for statistics in (
        client.get_inference_statistics(model),
        client.get_inference_statistics(model, "1"),
        client.get_inference_statistics("flowers", str(flower_model["version"])),
    ):
        (counted,) = statistics["model_stats"]
        assert counted["inference_count"] >= len(LENGTHS)
        assert counted["inference_stats"]["success"]["count"] >= 1
    assert client.get_inference_statistics()["model_stats"]


# It leaves some answers unread, which shows when the connection is collected.
@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
def test_the_aio_client_does_the_same(
    service: Service, flower_model: dict[str, Any], expected: np.ndarray
) -> None:
    asyncio.run(_ask_all(address_of(service), flower_model["id"], expected))
    gc.collect()


async def _ask_all(address: str, model: str, expected: np.ndarray) -> None:
    async with aio.InferenceServerClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(model)
        assert (await client.get_server_metadata())["name"] == "dropout-service"
        assert (await client.get_model_metadata(model))["versions"] == ["1"]
        assert (await client.get_model_config(model))["name"] == model
        assert (await client.get_inference_statistics(model))["model_stats"]
        for options in CALLS.values():
            assert_same(await client.infer(model, [rows(MANY)], **options), expected)
        few = expected[: len(LENGTHS)]
        for inputs in ([rows(LENGTHS, binary=False)], columns(LENGTHS)):
            assert_same(await client.infer(model, inputs), few)
        company = [client.infer(model, [rows(MANY[:size])]) for size in range(3, 60, 3)]
        for size, result in zip(range(3, 60, 3), await asyncio.gather(*company), strict=True):
            assert_same(result, expected[:size])
        with pytest.raises(InferenceServerException, match="input 'input'"):
            await client.infer(model, [rows(np.ones((1, 3)))])
        with pytest.raises(InferenceServerException, match="nobody"):
            await client.get_model_metadata("nobody")
        await client.unload_model(model)
        states = {entry["state"] for entry in await client.get_model_repository_index()}
        await client.load_model(model)
        assert "UNAVAILABLE" in states
