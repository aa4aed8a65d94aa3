"""What the serving benchmark measures with is right; what it measures is not judged here."""

import http.server
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
import torch

from benchmarks.goals import Goal, spread
from benchmarks.serving import goals, open_loop, report, same_bits, wrk
from benchmarks.serving.network import Rows, answers, as_plain_network, random_rows
from benchmarks.serving.protocols import HEADER_LENGTH, Body, instances, v2_binary, v2_json
from benchmarks.serving.servers import PORT, Server, ServerFailed, running
from benchmarks.serving.throughput import Results
from benchmarks.serving.wrk import Measured
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import save_model
from tests.support.served_models import make_model

BODIES = [Body(content, {"X-Kind": "test"}) for content in (b"first", b"\0second\xff")]


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers every POST with 200 and its body, but those to /broken."""

    protocol_version = "HTTP/1.1"
    received: list[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["X-Kind"], body))
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class ManyAtOnce(http.server.ThreadingHTTPServer):
    request_queue_size = open_loop.NUM_CONNECTIONS

    def handle_error(self, *_: object) -> None:
        """Clients that close a connection are none."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that echoes."""
    Echo.received = []
    with ManyAtOnce(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_every_request_of_an_open_loop_is_sent_and_answered(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_loop, "WARM_UP_SECONDS", 0.04)
    taken = open_loop.latencies(port, "/echo", BODIES, rate=1000, seconds=0.1)
    assert len(taken) == 100
    assert (np.diff(taken) >= 0).all()
    assert Counter(Echo.received) == {("/echo", "test", body.content): 70 for body in BODIES}


def test_an_open_loop_fails_with_the_first_request_that_does(port: int) -> None:
    with pytest.raises(ServerFailed, match="answered HTTP"):
        open_loop.latencies(port, "/broken", BODIES, rate=1000, seconds=0.1)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_the_bodies_in_turn_and_counts_what_fails(port: int) -> None:
    measured = wrk.load(f"http://127.0.0.1:{port}/echo", BODIES, seconds=1)
    assert measured.num_failed == 0
    assert measured.num_requests > 0
    assert set(Echo.received) == {("/echo", "test", body.content) for body in BODIES}
    with pytest.raises(ServerFailed, match="requests failed"):
        wrk.load(f"http://127.0.0.1:{port}/broken", BODIES, seconds=1)


def test_a_server_runs_while_it_is_measured_and_ends_with_all_its_processes() -> None:
    program = (
        "import http.server as http, subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE);"
        "http.test(http.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
    )
    with running(Server("files", [sys.executable, "-c", program, PORT], "/LICENSE")) as server:
        family = [server.process, *server.process.children()]
        assert server.client.get("/LICENSE").status_code == 200
    assert len(family) == 2
    assert not any(process.is_running() for process in family)


def test_a_server_that_does_not_start_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(ServerFailed, match="broken did not start; it said: no such model"),
        running(Server("broken", command, "/")),
    ):
        pass


def test_the_network_of_the_peers_answers_as_the_model_it_was_made_of(tmp_path: Path) -> None:
    model, description = make_model(num_features=784, num_classes=10, hidden=(256, 256))
    save_model(tmp_path, model, description)
    rows = random_rows(5, seed=0)
    expected = Predictor(model, description).outputs(torch.from_numpy(rows))
    np.testing.assert_allclose(answers(as_plain_network(tmp_path), rows), expected, atol=1e-6)


def test_rows_are_the_same_numbers_as_text() -> None:
    rows = random_rows(3, seed=0)
    assert ((rows >= 0) & (rows < 1)).all()
    assert all(f"{value:.4f}".rstrip("0") in (str(value), "0.") for value in rows.ravel()[:500])
    sent = orjson.loads(instances("/predict").encode(rows).content)["instances"]
    np.testing.assert_array_equal(np.array(sent), rows)


def test_both_forms_of_the_open_inference_protocol_say_the_same() -> None:
    rows, given = random_rows(3, seed=0), random_rows(3, seed=1)[:, :10]
    as_json = orjson.loads(v2_json("/infer", "FP64").encode(rows).content)["inputs"][0]
    body = v2_binary("/infer", "FP64").encode(rows)
    length = int(body.headers[HEADER_LENGTH])
    as_binary = orjson.loads(body.content[:length])["inputs"][0]
    assert as_binary.pop("parameters") == {"binary_data_size": 8 * rows.size}
    np.testing.assert_array_equal(as_json.pop("data"), rows.ravel())
    np.testing.assert_array_equal(np.frombuffer(body.content[length:]), rows.ravel())
    assert as_json == as_binary == {"name": "input", "datatype": "FP64", "shape": [3, 784]}
    np.testing.assert_array_equal(v2_json("/infer", "FP64").decode(_v2_json_answer(given)), given)
    np.testing.assert_array_equal(v2_binary("/", "FP64").decode(_v2_binary_answer(given)), given)


def _v2_json_answer(probabilities: Rows) -> httpx.Response:
    outputs = [
        {"name": "prediction", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]},
        {
            "name": "probabilities",
            "shape": list(probabilities.shape),
            "datatype": "FP64",
            "data": probabilities.ravel().tolist(),
        },
    ]
    return httpx.Response(200, json={"outputs": outputs})


def _v2_binary_answer(probabilities: Rows) -> httpx.Response:
    outputs = [
        {
            "name": name,
            "shape": list(values.shape),
            "datatype": datatype,
            "parameters": {"binary_data_size": values.nbytes},
        }
        for name, datatype, values in (
            ("prediction", "INT64", np.arange(3)),
            ("probabilities", "FP64", probabilities),
        )
    ]
    header = orjson.dumps({"outputs": outputs})
    content = header + np.arange(3).tobytes() + probabilities.tobytes()
    return httpx.Response(200, content=content, headers={HEADER_LENGTH: str(len(header))})


def test_the_one_row_is_in_every_question_somewhere() -> None:
    questions = [same_bits.question(number) for number in range(60)]
    assert {asked.protocol for asked in questions} == set(same_bits.SHARES)
    assert len({len(asked.rows) for asked in questions}) > 20
    assert len({asked.rows[asked.position].tobytes() for asked in questions}) == 1


def test_ratios_are_of_rounds_and_goals_of_their_medians() -> None:
    def runs(*rates: int) -> list[Measured]:
        return [Measured(rate, 0, 1.0, 1.0, 2.0) for rate in rates]

    results = Results({1: {goals.OURS: runs(100, 900, 800), "MLServer": runs(100, 100, 200)}})
    met, *others = goals.of_throughput(results)
    assert met.values == [1, 9, 4]
    assert met.verdict == "met"
    assert {goal.verdict for goal in others} == {"not measured"}
    assert spread(met.values) == "4.00 (2.50-6.50)"
    assert "4.00 (2.50-6.50)" in report.throughput_table(results)


@pytest.mark.parametrize(
    ("kind", "value", "verdict"),
    [
        ("at least", 3.0, "met"),
        ("at least", 2.9, "missed"),
        ("under", 3.0, "missed"),
        ("under", 2.9, "met"),
        ("exactly", 3.0, "met"),
        ("exactly", 4.0, "missed"),
    ],
)
def test_a_goal_is_met_within_its_bound(kind: str, value: float, verdict: str) -> None:
    assert Goal("what", kind, 3, [value]).verdict == verdict
