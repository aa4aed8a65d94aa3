"""Requests that no document describes, as bytes: any answer will do that is none of a fault."""

import json
import re
from collections import Counter
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from tests.support.fuzz_figures import FUZZ, SEED, record
from tests.support.problems import assert_error
from tests.support.service import Service
from tests.support.wire import exchange

NUM_REQUESTS = 100 if FUZZ == 1 else 250 * FUZZ

fuzzed = settings(
    max_examples=NUM_REQUESTS,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)

ODD_TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("\0", "..", "../../etc/passwd", "%", "\r\nX-Injected: 1", "\ufeff", "é" * 300, "-"),
            *("9" * 400, str(2**63), str(-(2**63) - 1), "1e999", "nan", "\x1b[31m", "x" * 20_000),
        ]
    ),
)
METHODS = st.sampled_from(["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "PROPFIND"])
IDS = st.one_of(
    st.sampled_from(["{dataset}", "{job}", "{sweep}", "{model}"]),  # of another kind, mostly
    st.sampled_from(
        ["%00", "%2F", "%2e%2e%2f", "%ED%A0%80", "%FF", "%C3", "%", "%zz", "x" * 9_000]
    ),
    ODD_TEXT.map(lambda text: quote(text, safe="")),
)
BESIDE = [("GET", "/docs"), ("GET", "/openapi.json")]
PATHS = st.sampled_from(
    [
        *("//v1/jobs", "/v1/../v1/jobs", "/V1/jobs", "/v1/jobs/", "/v1/jobs/{id}/nothing", "/"),
        *("/static-offline-docs/", "/static-offline-docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
    ]
)
KINDS = {"datasets": "{dataset}", "jobs": "{job}", "sweeps": "{sweep}", "models": "{model}"}


def operations(service: Service) -> list[tuple[str, str]]:
    """Methods and paths; those that take a body twice, as there is more to be wrong."""
    paths = service.client.get("/openapi.json").json()["paths"]
    found = [
        (method.upper(), re.sub(r"{\w+}", "{id}", path), "requestBody" in paths[path][method])
        for path in paths
        for method in paths[path]
    ]
    return [(method, path) for method, path, has_body in found for _ in range(1 + has_body)]


@st.composite
def targets(draw: st.DrawFn, known: list[tuple[str, str]]) -> tuple[str, str]:
    """A method and a path, mostly such that there are, of what there is."""
    if draw(st.integers(0, 9)) == 0:
        method, path = draw(METHODS), draw(PATHS | st.sampled_from([path for _, path in known]))
    else:
        method, path = draw(st.sampled_from(known + BESIDE))
    kind = path.split("/")[2] if path.startswith(("/v1/", "/v2/")) else ""
    real = KINDS.get(kind, "nobody")
    return method, path.replace("{id}", draw(IDS) if draw(st.integers(0, 3)) == 0 else real)


PARAMETERS = st.tuples(
    st.sampled_from(
        [
            *("limit", "after", "state", "after_epoch", "validate_only", "x"),
            *("name", "created_after", "order", "dataset"),
        ]
    ),
    ODD_TEXT,
).map(lambda pair: f"{pair[0]}={quote(pair[1], safe='')}")
QUERIES = st.just("") | st.lists(PARAMETERS, max_size=3).map("&".join)

VALUES = st.one_of(
    st.binary(max_size=40).map(lambda value: re.sub(rb"[\0-\x08\x0a-\x1f\x7f]", b" ", value)),
    st.sampled_from([b"", b"*/*", b"text/event-stream", b"text/csv;q=nan", b"a/b;q=1e999,,;=;"]),
    st.sampled_from([b"application/json", b"application/json; charset=utf-16", b"a" * 20_000]),
    st.sampled_from([b"multipart/form-data", b"multipart/form-data; boundary=" + b"b" * 300]),
    st.sampled_from([b"Bearer dsk_x_y", b"Bearer \xff", b"[::1", b"http://[", b"9" * 30, b"-1"]),
)
NAMES = [
    *(b"Accept", b"Last-Event-ID", b"Idempotency-Key", b"Authorization", b"X-Request-ID"),
    *(b"traceparent", b"tracestate", b"Content-Encoding", b"Expect", b"Upgrade", b"Range"),
]
WHO = [b"Host", b"Origin", b"Content-Type"]  # with which few requests come far
HEADERS = st.one_of(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
    st.lists(st.tuples(st.sampled_from(NAMES + WHO), VALUES), max_size=2),
)


ROWS = '{"id": "{dataset}", "target": "label"}'


def within(value: str) -> list[str]:
    """JSON with this value where the service expects another."""
    return [
        value,
        f'{{"instances": [[{value}, 1]]}}',
        f'{{"instances": {value}}}',
        f'{{"dataset": {value}}}',
        f'{{"dataset": {{"id": "{{dataset}}", "target": {value}}}}}',
        f'{{"dataset": {ROWS}, "model": {{"hidden": [{value}]}}}}',
        f'{{"dataset": {ROWS}, "metadata": {value}}}',
        f'{{"dataset": null, "num_repeats": {value}, "num_repeats": 1}}',
    ]


JSON = st.one_of(
    st.sampled_from(
        [
            *(
                "1e999",
                "-1e999",
                "9" * 5_000,
                "NaN",
                "-Infinity",
                "1e-400",
                "-0",
                "0.1" + "0" * 5_000,
            ),
            *('"\\ud800"', '"\\u0000"', '"' + "x" * 50_000 + '"', "[" * 900, "[" * 30_000),
            *(
                '{"a":' * 900,
                '{"a":' * 15_000,
                "[" * 400 + "]" * 400,
                '{"a": 1, "a": 2}',
                "",
                "tru",
            ),
        ]
    ),
    ODD_TEXT.map(json.dumps),
).flatmap(lambda value: st.sampled_from(within(value)))


@st.composite
def json_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A content type, and a body in any encoding."""
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-7"]))
    charset = draw(st.sampled_from([b"", b"; charset=latin-1", b"; charset=none", b"; charset"]))
    body = draw(JSON).encode(encoding, errors="replace")
    return b"application/json" + charset, body


ODD_NAMES = st.one_of(
    st.sampled_from(['file"', "file", "name", "delimiter", "encoding", "missing", "quote", ""]),
    ODD_TEXT,
)


FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\na,b\n1,2\n\r\n'


@st.composite
def forms(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A form whose parts are many, nameless, or named as no file is."""
    boundary = draw(st.sampled_from([b"b", b"b", b"", b'"b"', b"b" * 100]))
    parts = [FILE] * draw(st.integers(0, 1))
    for name in draw(st.lists(ODD_NAMES, min_size=1, max_size=4)):
        file = draw(st.none() | ODD_TEXT)
        disposition = f'form-data; name="{name}"' if name else "form-data"
        disposition += "" if file is None else f'; filename="{file}"'
        content = draw(st.sampled_from([b"a,b\n1,2\n", b"", b"\xff\xfe", b"PAR1", b"utf-7", b"\0"]))
        repeats = draw(st.sampled_from([1, 1, 1, 3, 2_000]))
        line = b"Content-Disposition: " + disposition.encode(errors="replace")
        parts += [b"--b\r\n" + line + b"\r\n\r\n" + content + b"\r\n"] * repeats
    end = draw(st.sampled_from([b"--b--\r\n", b"--b", b""]))
    return b"multipart/form-data; boundary=" + boundary, b"".join(parts) + end


BODIES = st.one_of(
    st.just((b"", b"")),
    json_bodies(),
    forms(),
    st.tuples(st.just(b"application/json"), st.binary(max_size=60)),
)


def test_no_request_is_a_fault_of_the_service(
    service: Service,
    flowers: dict[str, Any],
    flower_job: dict[str, Any],
    flower_model: dict[str, Any],
) -> None:
    ids = {"dataset": flowers["id"], "job": flower_job["id"], "model": flower_model["id"]}
    statuses: Counter[int] = Counter()
    known = operations(service)
    assert len(known) > 20

    @seed(SEED)
    @fuzzed
    @given(target=targets(known), query=QUERIES, headers=HEADERS, body=BODIES)
    def send(
        target: tuple[str, str],
        query: str,
        headers: list[tuple[bytes, bytes]],
        body: tuple[bytes, bytes],
    ) -> None:
        note(f"FUZZ_SEED={SEED}")
        method, path = target
        media_type, content = body
        if method == "DELETE" or path.endswith("/unload"):  # of what others need
            path = re.sub(r"{\w+}", "nobody", path)
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value)
            content = content.replace(f"{{{name}}}".encode(), value.encode())
        lines = [f"{method} {path}{'?' * bool(query)}{query} HTTP/1.1".encode()]
        given = {name.lower() for name, _ in headers}
        if b"host" not in given:
            lines.append(b"Host: 127.0.0.1")
        if media_type and b"content-type" not in given:
            lines.append(b"Content-Type: " + media_type)
        lines += [name + b": " + value for name, value in headers]
        lines += [b"Connection: close", b"Content-Length: %d" % len(content), b"", content]
        response = exchange(service.address, b"\r\n".join(lines))
        statuses[response.status_code] += 1
        assert_no_fault(response, method, path)

    send()
    record(
        "requests as bytes",
        inputs=statuses.total(),
        server_errors=sum(number for status, number in statuses.items() if status >= 500),
        statuses={str(status): statuses[status] for status in sorted(statuses)},
    )
    assert_files_are_named_by_the_service(service)


def assert_no_fault(response: httpx.Response, method: str, path: str) -> None:
    assert response.status_code < 500, response.text
    assert "x-injected" not in response.headers
    assert response.headers["x-content-type-options"] == "nosniff"
    if response.is_error and method != "HEAD":
        assert_error(response, response.status_code, path=path)


def assert_files_are_named_by_the_service(service: Service) -> None:
    """No name of an upload, a dataset or an id is a part of any path."""
    found = [str(path.relative_to(service.data_dir)) for path in service.data_dir.rglob("*")]
    for path in found:
        assert re.fullmatch(
            r"dropout\.db(-wal|-shm)?|[a-z]+\.lock|(metrics|cache|scratch|uploads)(/.*)?"
            r"|artifacts(/(datasets|jobs)(/(ds|job)_[0-9a-z]{26}(\.\w+)*(/\d+(/[\w.-]+)*)?)?)?",
            path,
        ), path
    uploads = [path for path in found if path.startswith("uploads/")]
    assert not uploads  # nothing is left behind
