"""Traces from a request to the steps of its trainer, over OTLP, if a collector is configured.

The variables are OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` enables tracing, and the others
have their usual meaning. Without an endpoint OpenTelemetry is not imported, and these functions do
nothing. A thread sends finished spans; nothing waits for a collector that does not answer.

Spans hold no messages of exceptions, because these quote their inputs.
"""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "dropout-service"
SEND_SECONDS = 2.0  # at the end of a process, for the spans that are not sent yet

Attributes = Mapping[str, str | int | float]
Kind = Literal["SERVER", "CONSUMER"]

_provider: "TracerProvider | None" = None


def configure_tracing(role: str) -> None:
    """Trace this process under its `role`, if an endpoint is configured; call once at its edge."""
    global _provider
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE),
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            "dropout.role": role,
        }
    )
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def end_tracing() -> None:
    """Send the remaining spans, in bounded time, and end tracing in this process."""
    global _provider
    if _provider is None:
        return
    # In a thread that can be abandoned: OpenTelemetry's own timeout is half a minute.
    ending = threading.Thread(target=_provider.shutdown, daemon=True)
    _provider = None
    ending.start()
    ending.join(SEND_SECONDS)


def is_tracing() -> bool:
    return _provider is not None


@contextmanager
def span(
    name: str, *, kind: Kind, parent: str | None = None, attributes: Attributes | None = None
) -> Iterator[None]:
    """Open a span around the block, under `parent` (a W3C traceparent) or as a new trace's root.

    Log lines of the block carry the trace's id.
    """
    if _provider is None:
        yield
        return
    from opentelemetry.trace import SpanKind, format_trace_id
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer = _provider.get_tracer(SERVICE)
    with (
        tracer.start_as_current_span(
            name,
            context=TraceContextTextMapPropagator().extract({"traceparent": parent or ""}),
            kind=SpanKind[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as current,
        bound_contextvars(trace_id=format_trace_id(current.get_span_context().trace_id)),
    ):
        yield


def update_span(attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
    """Set attributes of the current span, and its name or its error status if given."""
    if _provider is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    current = get_current_span()
    current.set_attributes(attributes)
    if name is not None:
        current.update_name(name)
    if failed:
        current.set_status(StatusCode.ERROR)


def record(name: str, *, started_at: float, seconds: float) -> None:
    """Record a finished span under the current one; `started_at` in Unix seconds."""
    if _provider is None:
        return
    started_ns = int(started_at * 1e9)
    finished = _provider.get_tracer(SERVICE).start_span(name, start_time=started_ns)
    finished.end(started_ns + int(seconds * 1e9))


def traceparent() -> str | None:
    """Return the current span as a W3C traceparent, for another process; None without tracing."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
