import json
import os
import socket
import subprocess
import sys

from store.operations.tracing import ENDPOINTS
from tests.support.collector import Collector

UNTRACED = {name: value for name, value in os.environ.items() if name not in ENDPOINTS}

NOT_CONFIGURED = """
import sys
from store.operations import tracing

tracing.configure_tracing("worker")
assert not tracing.is_tracing()
with tracing.span("attempt", kind="CONSUMER"):
    tracing.update_span({"a": 1}, name="b", failed=True)
    tracing.record("train", started_at=0, seconds=1)
    assert tracing.traceparent() is None
tracing.end_tracing()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""

# More than wait in memory, so that some are dropped.
MANY_SPANS = """
from store.operations import tracing
from store.operations.logs import configure_logging

configure_logging()
tracing.configure_tracing("worker")
assert tracing.is_tracing()
for _ in range(5000):
    with tracing.span("attempt", kind="CONSUMER", parent="no traceparent"):
        tracing.update_span({"a": 1})
tracing.end_tracing()
tracing.end_tracing()
assert not tracing.is_tracing()
"""

ONE_SPAN = """
from store.operations import tracing

tracing.configure_tracing("worker")
with tracing.span("attempt", kind="CONSUMER"):
    pass
tracing.end_tracing()
"""


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-c", script], env=UNTRACED | environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def test_without_an_endpoint_nothing_is_imported_and_nothing_done() -> None:
    run(NOT_CONFIGURED)


def test_a_collector_that_never_answers_fails_nothing_and_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ended = run(MANY_SPANS, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert all(json.loads(line) for line in ended.stderr.splitlines())


def test_a_collector_that_is_not_there_fails_nothing() -> None:
    with socket.socket() as nobody:  # bound, so that nobody else listens there either
        nobody.bind(("127.0.0.1", 0))
        run(ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{nobody.getsockname()[1]}")


def test_what_a_process_has_to_tell_is_sent_before_it_ends() -> None:
    with Collector() as collector:
        run(ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="mine")
    [span] = collector.spans
    assert (span.name, span.parent) == ("attempt", "")
    assert (span.resource["service.name"], span.resource["dropout.role"]) == ("mine", "worker")
    assert "service.instance.id" in span.resource
