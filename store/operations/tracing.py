"""Traces from a request to what its trainer did, over OTLP, where a collector is configured.

The variables are OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` begins it, and the others mean
what they mean everywhere. Without an endpoint nothing of OpenTelemetry is imported, and all of this
does nothing. A thread sends what is over; for a collector that does not answer, nobody waits.

Spans hold no texts of exceptions, which quote what they failed with.
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
SEND_SECONDS = 2.0  # at the end of a process, for what has not been sent yet

Attributes = Mapping[str, str | int | float]
Kind = Literal["SERVER", "CONSUMER"]

_provider: "TracerProvider | None" = None


def configure_tracing(role: str) -> None:
    """Trace this process, `role` in the service, if an endpoint is configured; once at its edge."""
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
    """Send what is left, in bounded time; this process traces no more."""
    global _provider
    if _provider is None:
        return
    # In a thread to be left behind: OpenTelemetry's own timeout is half a minute.
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
    """A span around the block, under `parent`, a W3C traceparent, or the root of a new trace.

    What the block logs carries the trace's id.
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


def describe(attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
    """Say more of the span around: facts, a better name, that it came to no good."""
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
    """A span that is over, under the one around; `started_at` in Unix seconds."""
    if _provider is None:
        return
    started_ns = int(started_at * 1e9)
    over = _provider.get_tracer(SERVICE).start_span(name, start_time=started_ns)
    over.end(started_ns + int(seconds * 1e9))


def traceparent() -> str | None:
    """The span around as a W3C traceparent, to go on from elsewhere; None if nothing is traced."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
