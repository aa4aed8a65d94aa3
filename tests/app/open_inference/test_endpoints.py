"""The Open Inference Protocol on the wire; a client of it is in `test_tritonclient`."""

import gzip
import json
import re
import socket
import zlib
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from app.http.protocol import MAX_HEAD_BYTES
from tests.support import tables
from tests.support.inference_requests import body, in_bytes, in_json, packed, rows
from tests.support.problems import assert_error
from tests.support.service import SETTINGS, Service
from tests.support.waiting import wait_until
from tests.support.wire import exchange

Client = httpx.Client

LENGTHS = np.array([[1.5, 0.25], [4.3, 1.3], [5.6, 2.0], [4.97, 1.63]])
EXACT = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="package")
def path(flower_model: dict[str, Any]) -> str:
    return f"/v2/models/{flower_model['id']}"


def infer(client: Client, path: str, *inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Values of the outputs by name, of JSON alone."""
    response = client.post(f"{path}/infer", content=body(*inputs, **fields)[0])
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


def test_a_row_has_the_same_bits_in_every_protocol(
    live: Client, path: str, flower_model: dict[str, Any]
) -> None:
    instances = {"instances": LENGTHS.tolist()}
    expected = live.post(f"/v1/models/{flower_model['id']}/predict", json=instances).json()
    bits = np.array(expected["probabilities"]).tobytes()
    told = infer(live, path, rows(LENGTHS))
    assert np.array(told["probabilities"]).tobytes() == bits
    assert told["prediction"] == expected["predictions"]
    for row, probabilities in zip(LENGTHS, expected["probabilities"], strict=True):
        alone = infer(live, path, rows(row[None]))["probabilities"]
        assert np.array(alone).tobytes() == np.array(probabilities).tobytes()
    content, length = body(
        in_bytes("input", "FP64", LENGTHS.shape, LENGTHS.nbytes),
        contents=LENGTHS.tobytes(),
        outputs=[{"name": "probabilities", "parameters": {"binary_data": True}}],
    )
    headers = {"Inference-Header-Content-Length": str(length)}
    response = live.post(f"{path}/infer", content=content, headers=headers)
    json_length = int(response.headers["Inference-Header-Content-Length"])
    document = json.loads(response.content[:json_length])
    assert response.headers["content-type"] == "application/octet-stream"
    assert document["parameters"] == {"fingerprint": expected["fingerprint"]}
    assert response.content[json_length:] == bits


def test_a_table_of_every_kind_of_column_is_predicted_as_its_rows(
    live: Client, people_model: dict[str, Any]
) -> None:
    cells = [["Oslo", 70, "2024-03-01", True], ["Paris", None, "2024-06-01", False]]
    expected = live.post(
        f"/v1/models/{people_model['id']}/predict", json={"instances": cells}
    ).json()
    path = f"/v2/models/{people_model['id']}"
    metadata = live.get(path).json()
    assert [(tensor["name"], tensor["datatype"]) for tensor in metadata["inputs"]] == [
        *(("city", "BYTES"), ("age", "FP64"), ("since", "BYTES"), ("member", "BOOL"))
    ]
    columns = [
        in_json(tensor["name"], tensor["datatype"], [2], [row[place] for row in cells])
        for place, tensor in enumerate(metadata["inputs"])
    ]
    told = infer(live, path, *columns)
    assert told["prediction"] == expected["predictions"]
    assert told["probabilities"] == [p for row in expected["probabilities"] for p in row]
    cities = packed([b"Oslo", b"Paris"])
    columns[0] = in_bytes("city", "BYTES", [2], len(cities))
    content, length = body(*columns, contents=cities)
    headers = {"Inference-Header-Content-Length": str(length)}
    answer = live.post(f"{path}/infer", content=content, headers=headers).json()
    assert answer["outputs"][0]["data"] == told["probabilities"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bodies_may_be_compressed_both_ways(live: Client, path: str, encoding: str) -> None:
    many = np.tile(LENGTHS, (300, 1))
    content, _ = body(rows(many), outputs=[{"name": "probabilities"}])
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    plain = live.post(f"{path}/infer", content=content, headers=EXACT)
    answer = live.post(
        f"{path}/infer",
        content=compress(content),
        headers={"Content-Encoding": encoding, "Accept-Encoding": encoding},
    )
    assert "content-encoding" not in plain.headers
    assert answer.headers["content-encoding"] == encoding
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) < int(plain.headers["content-length"])
    assert answer.content == plain.content


def test_only_answers_of_inference_are_compressed(live: Client, path: str) -> None:
    for place in ("", "/v2", "/config"):
        answer = live.get(place if place == "/v2" else f"{path}{place}")
        assert "gzip" in answer.request.headers["accept-encoding"]
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("length", ["-1", "many", "1000000", "3"])
def test_the_length_of_the_json_has_to_be_true(live: Client, path: str, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    response = live.post(f"{path}/infer", content=body(rows(LENGTHS))[0], headers=headers)
    assert_error(response, 400)


def test_what_is_compressed_badly_or_as_nobody_knows_is_refused(live: Client, path: str) -> None:
    content, _ = body(rows(LENGTHS))
    for encoding, sent, status in (
        ("gzip", content, 400),
        ("gzip", gzip.compress(content)[:-4], 400),
        ("gzip", gzip.compress(content) + b"more", 400),
        ("br", content, 415),
        ("gzip", gzip.compress(b" " * (SETTINGS["max_request_bytes"] + 1)), 413),
    ):
        headers = {"Content-Encoding": encoding}
        assert_error(live.post(f"{path}/infer", content=sent, headers=headers), status)


def test_a_body_over_the_limit_is_413(live: Client, path: str) -> None:
    limit = SETTINGS["max_request_bytes"]
    content = body(rows(LENGTHS))[0].ljust(limit)
    assert live.post(f"{path}/infer", content=content).status_code == 200
    for version in ("", "/versions/1"):
        response = live.post(f"{path}{version}/infer", content=content + b" ")
        assert str(limit) in assert_error(response, 413)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (rows(LENGTHS, name="size"), "input 'size'"),
        (rows(np.ones((2, 3))), "input 'input': the shape [2, 3] is not [-1, 2]"),
        (in_json("input", "BYTES", [1, 2], ["1", "2"]), "input 'input': BYTES"),
        (in_json("input", "FP64", [1, 2], [1.0, None]), "row 1, column 'petal_width'"),
        (in_json("input", "FP64", [1, 2], [1.0]), "input 'input': `data`"),
        (rows(np.array([[1.0, 1.0], [1e308, 1.0]])), "row 2: the features are too large"),
    ],
)
def test_an_input_that_cannot_be_used_is_400(
    live: Client, path: str, tensor: dict[str, Any], reason: str
) -> None:
    assert reason in assert_error(live.post(f"{path}/infer", content=body(tensor)[0]), 400)


def test_an_output_that_is_not_there_is_400(live: Client, path: str) -> None:
    content, _ = body(rows(LENGTHS), outputs=[{"name": "logits"}])
    assert "output 'logits'" in assert_error(live.post(f"{path}/infer", content=content), 400)


def test_a_missing_value_is_imputed_if_that_is_asked(live: Client, path: str) -> None:
    hole = in_json("petal_length", "FP64", [1], [4.3])
    assert "'petal_width'" in assert_error(live.post(f"{path}/infer", content=body(hole)[0]), 400)
    told = infer(live, path, hole, parameters={"missing": "impute"})
    assert sum(told["probabilities"]) == pytest.approx(1)


def test_a_neighbour_that_is_wrong_harms_nobody(live: Client, path: str) -> None:
    """Many connections at once, every other of them with a row that is refused."""
    good, bad = body(rows(LENGTHS[:1]))[0], body(rows(np.array([[1e308, np.nan]])))[0]
    expected = infer(live, path, rows(LENGTHS[:1]))["probabilities"]
    requests = [good, bad, b"{", good] * 5
    server = urlsplit(str(live.base_url))
    connections = [socket.create_connection((server.hostname, server.port)) for _ in requests]
    for connection, content in zip(connections, requests, strict=True):
        head = f"POST {path}/infer HTTP/1.1\r\nHost: {server.netloc}\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    for connection, content in zip(connections, requests, strict=True):
        with connection, connection.makefile("rb") as answer:
            head, _, rest = answer.read().partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert status == (200 if content is good else 400)
        if content is good:
            assert json.loads(rest)["outputs"][0]["data"] == expected


def test_a_client_that_goes_away_is_no_fault(live: Client, path: str, service: Service) -> None:
    server = urlsplit(str(live.base_url))
    request_id = "gone-away-amid-a-body"
    with socket.create_connection((server.hostname, server.port)) as connection:
        head = f"POST {path}/infer HTTP/1.1\r\nHost: {server.netloc}\r\n"
        connection.sendall(
            f"{head}X-Request-Id: {request_id}\r\nContent-Length: 100\r\n\r\n{{".encode()
        )
    wait_until(lambda: request_id in service.log())
    lines = [line for line in service.log().splitlines() if request_id in line]
    assert "unexpected error" not in "".join(lines)
    assert '"status": 400' in "".join(lines)
    assert infer(live, path, rows(LENGTHS))


def test_every_error_is_json_with_a_text(live: Client, path: str) -> None:
    assert_error(live.get("/v2/nothing"), 404)
    assert "nobody" in assert_error(live.get("/v2/models/nobody"), 404)
    assert "mdl_0" in assert_error(live.get("/v2/models/mdl_0/ready"), 404)
    assert_error(live.get(f"{path}/versions/2"), 404)
    assert "flowers@99" in assert_error(live.get("/v2/models/flowers/versions/99/stats"), 404)
    assert_error(live.get(f"{path}/infer"), 405)
    assert_error(live.post("/v2/models/nobody/infer", content=body(rows(LENGTHS))[0]), 404)
    assert "not JSON" in assert_error(live.post(f"{path}/infer", content=b"{"), 400)
    assert_error(live.post("/v2/repository/index", content=b"["), 400)
    refused = live.post("/v2/repository/index", json={"ready": "yes, all"})
    assert "/ready" in assert_error(refused, 422)
    assert_error(live.post("/v2/repository/models/nobody/load"), 404)
    override = {"parameters": {"config": "{}"}}
    refused = live.post(f"/v2/repository/models/{path.split('/')[3]}/load", json=override)
    assert "/parameters/config" in assert_error(refused, 422)
    assert_error(live.get("/v2", headers={"Origin": "http://elsewhere.example"}), 403)


def test_a_head_that_is_no_request_is_an_error_too(service: Service) -> None:
    head = b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * MAX_HEAD_BYTES)
    response = exchange(service.address, head)
    assert_error(response, 431, "head_too_large", path="/v2")


def test_a_model_answers_to_its_name_and_version(
    live: Client, flower_model: dict[str, Any]
) -> None:
    name, version = flower_model["name"], flower_model["version"]
    asked = {"": 200, f"/versions/{version}": 200, "/versions/production": 404}
    for place, status in asked.items():
        for suffix in ("", "/ready", "/config"):
            assert live.get(f"/v2/models/{name}{place}{suffix}").status_code == status
    metadata = live.get(f"/v2/models/{name}").json()
    assert str(version) in metadata["versions"]
    content, _ = body(rows(LENGTHS), id="seven")
    answer = live.post(f"/v2/models/{name}/versions/{version}/infer", content=content).json()
    assert (answer["model_name"], answer["model_version"]) == (name, str(version))
    assert answer["id"] == "seven"
    live.put(f"/v1/names/{name}/aliases/production", json={"version": version}).raise_for_status()
    try:
        aliased = live.post(f"/v2/models/{name}/versions/production/infer", content=content).json()
    finally:
        live.delete(f"/v1/names/{name}/aliases/production").raise_for_status()
    assert aliased == answer


def test_what_is_asked_is_counted(live: Client, path: str, flower_model: dict[str, Any]) -> None:
    def counted() -> dict[str, Any]:
        (found,) = live.get(f"{path}/stats").json()["model_stats"]
        assert (found["name"], found["version"]) == (flower_model["id"], "1")
        answer: dict[str, Any] = found
        return answer

    before = counted()
    infer(live, path, rows(LENGTHS))
    live.post(f"{path}/infer", content=b"{")
    after = counted()
    assert after["inference_count"] == before["inference_count"] + len(LENGTHS)
    assert after["execution_count"] == before["execution_count"] + 1
    for part in ("success", "fail", "compute_input", "compute_infer", "compute_output"):
        durations = [found["inference_stats"][part] for found in (before, after)]
        assert durations[1]["count"] == durations[0]["count"] + 1
        assert durations[1]["ns"] > durations[0]["ns"]
    everything = live.get("/v2/models/stats").json()["model_stats"]
    assert (flower_model["name"], str(flower_model["version"])) in [
        (found["name"], found["version"]) for found in everything
    ]


def test_metadata_tell_what_the_tensors_mean(live: Client, path: str) -> None:
    metadata = live.get(path).json()
    assert metadata["parameters"]["features"] == ["petal_length", "petal_width"]
    assert metadata["parameters"]["classes"] == sorted(tables.KINDS)
    config = live.get(f"{path}/config").json()
    types = {tensor["name"]: tensor["data_type"] for tensor in config["output"]}
    assert types == {"probabilities": "TYPE_FP64", "prediction": "TYPE_STRING"}
    assert re.fullmatch(r"[\w.]+", live.get("/v2").json()["version"])
