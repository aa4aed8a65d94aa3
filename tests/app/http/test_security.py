"""Who may call, and what: nobody gets further than their key says."""

import asyncio
import hmac
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from app.http.bind import UnsafeBind, check_bind
from app.http.security import ANYBODY, Keyring
from app.main import create_app
from store.access import keys
from store.access.keys import Scope
from store.database.engine import Database
from store.database.tables import api_keys, database_now
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.problems import assert_error, assert_problem
from tests.support.routes import DOCUMENTED, ROUTES
from tests.support.store_examples import new_key
from tests.support.waiting import wait_until

Client = httpx.Client

NEEDED = {route: Scope(ROUTES[route][0]) for route in DOCUMENTED if ROUTES[route][0] != "open"}
OPEN_TO_ALL = DOCUMENTED - NEEDED.keys()


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with closing(Database(sqlite_url)) as database:
        yield database


@pytest.fixture
def token(database: Database) -> str:
    """Of a key that may do everything: from here on, one is needed."""
    with database.write() as transaction:
        return new_key(transaction)


@pytest.fixture
def locked(token: str, sqlite_client: Client) -> Client:
    """Calls an API that has a key, without one."""
    return sqlite_client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(client: Client, route: str, **options: Any) -> httpx.Response:
    method, _, path = route.partition(" ")
    return client.request(method, path, **options)


def status(client: Client, token: str) -> int:
    return client.get("/v1/jobs", headers=bearer(token)).status_code


# Which routes a key opens


def test_every_route_but_health_needs_a_key(locked: Client) -> None:
    for route in sorted(DOCUMENTED):
        if route in OPEN_TO_ALL:
            assert ask(locked, route).status_code == 200
        else:
            assert_error(ask(locked, route), 401, "unauthorized")


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_opens_what_it_names_and_nothing_else(
    database: Database, sqlite_client: Client, scope: Scope
) -> None:
    with database.write() as transaction:
        token = new_key(transaction, scope)
    for route in sorted(DOCUMENTED):
        answer = ask(sqlite_client, route, headers=bearer(token))
        if route in OPEN_TO_ALL or scope in (NEEDED[route], Scope.ADMIN):
            assert answer.status_code in (200, 404, 415), route
        else:
            assert NEEDED[route].value in assert_error(answer, 403, "forbidden")


def test_scopes_add_up(database: Database, sqlite_client: Client) -> None:
    with database.write() as transaction:
        token = new_key(transaction, Scope.READ, Scope.TRAIN)
    for route, needed in NEEDED.items():
        refused = ask(sqlite_client, route, headers=bearer(token)).status_code == 403
        assert refused == (needed in (Scope.PREDICT, Scope.ADMIN)), route


SPELLINGS = [
    "//v1/jobs",
    "/V1/jobs",
    "/v1/jobs/",
    "/v1/./jobs",
    "/docs/../v1/jobs",
    "/livez/../v1/jobs",
    "/%76%31/jobs",
    "/v1%2Fjobs",
    "/v1;/jobs",
    "/metrics/",
    "/metrics%0a",
    "/v1/jobs%0a",
    "/metric%73",
    "//metrics",
    "/static-offline-docs/../metrics",
    "/static-offline-docs/..%2f..%2fmain.py",
]


def test_no_other_spelling_of_a_path_opens_it(locked: Client) -> None:
    for path in SPELLINGS:
        url = httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode())
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "get"):
            answer = locked.request(method, url, follow_redirects=True)
            assert answer.status_code in (401, 404, 405), (path, answer.text)


UNKNOWN = [
    "/v1/new",
    "/v1/jobs/job_1/new",
    "/v1/models/a/b/predict",
    "/v2/new",
    "/v2/repository/models/a/b/load",
    "/metrics/new",
    "/nowhere",
]


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_path_is_404_for_every_key_and_401_without(
    locked: Client, database: Database, path: str
) -> None:
    """Without a key nobody finds out which paths there are."""
    with database.write() as transaction:
        token = new_key(transaction, Scope.PREDICT)
    for method in ("GET", "POST", "PUT", "DELETE", "PROPFIND", "post"):
        assert_error(locked.request(method, path), 401, "unauthorized")
        answer = locked.request(method, path, headers=bearer(token))
        assert_error(answer, 404, "not_found")


def test_a_method_that_a_path_has_not_is_405_for_every_key_and_401_without(
    locked: Client, database: Database
) -> None:
    with database.write() as transaction:
        token = new_key(transaction, Scope.PREDICT)
    for path in ("/v1/jobs", "/v1/models/m/predict", "/v2/models/m/infer", "/metrics"):
        for method in ("PATCH", "PROPFIND"):
            assert_error(locked.request(method, path), 401, "unauthorized")
            answer = locked.request(method, path, headers=bearer(token))
            assert_error(answer, 405, "method_not_allowed")
    assert_error(locked.delete("/livez"), 405, "method_not_allowed")


def test_an_endpoint_without_a_declaration_is_for_admins(
    locked: TestClient, database: Database, token: str
) -> None:
    @locked.app.get("/v1/forgotten")  # type: ignore[attr-defined]
    def forgotten() -> str:
        return "found"

    with database.write() as transaction:
        other = new_key(transaction, Scope.READ, Scope.TRAIN, Scope.PREDICT)
    assert_problem(locked.get("/v1/forgotten", headers=bearer(other)), 403, "forbidden")
    assert locked.get("/v1/forgotten", headers=bearer(token)).json() == "found"


# Which tokens are keys


WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    "Bearer sésame, ouvre-toi",
    "Bearer dsk_\x00_\x00",
    "Basic {token}",
    "{token}",
    "Bearer {token}x",
    "Bearer {token} {token}",
    "Bearer Bearer {token}",
    "Bearer {truncated}",
    f"Bearer {'x' * 100_000}",
]


def test_a_wrong_key_opens_nothing(locked: Client, token: str) -> None:
    for header in WRONG:
        given = header.format(token=token, truncated=token[:-1])
        answer = locked.get("/v1/jobs", headers={"Authorization": given.encode()})
        assert answer.status_code == 401, header[:20]
        assert "Bearer" in assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_opens_the_service(locked: Client, token: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token}"}
    assert locked.get("/v1/jobs", headers=headers).status_code == 200
    response = locked.post("/v1/datasets", files={"file": b"a\n1\n"}, headers=headers)
    assert response.status_code == 201


def test_secrets_are_compared_in_constant_time(
    locked: Client, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def spy(first: Any, second: Any) -> bool:
        compared.append((first, second))
        return compare(first, second)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert status(locked, f"{token}x") == 401
    assert status(locked, token) == 200
    assert [first == second for first, second in compared] == [False, True]
    assert {len(digest) for pair in compared for digest in pair} == {64}


def test_no_answer_and_no_line_of_log_holds_a_secret(
    locked: Client, database: Database, token: str
) -> None:
    with database.write() as transaction:
        other = new_key(transaction, Scope.PREDICT)
        # As on a disk that is full.
        transaction.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON api_keys "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with capture_logs() as lines:
        answers = [
            ask(locked, route, headers=bearer(given))
            for route in sorted(DOCUMENTED)
            for given in (token, other, f"{token}x", token[:-1])
        ]
    assert {answer.status_code for answer in answers} >= {200, 401, 403, 404}
    assert "the use of a key was not noted" in {line["event"] for line in lines}
    said = "".join(answer.text + repr(answer.headers) for answer in answers) + repr(lines)
    for secret in (token, other):
        assert secret.split("_", 2)[2][:-1] not in said


# Keys that come and go while the service runs


def test_the_first_key_locks_a_service_that_runs(sqlite_client: Client, database: Database) -> None:
    assert status(sqlite_client, "") == 200
    with database.write() as transaction:
        token = new_key(transaction)
    wait_until(lambda: status(sqlite_client, "") == 401)
    assert status(sqlite_client, token) == 200


def test_a_revoked_key_opens_nothing_not_even_when_it_was_the_last(
    locked: Client, database: Database, token: str
) -> None:
    assert status(locked, token) == 200
    with database.write() as transaction:
        [key] = keys.all_keys(transaction)
        keys.revoke(transaction, key.id)
    wait_until(lambda: status(locked, token) == 401)
    assert status(locked, "") == 401
    with TestClient(create_app(locked.app.state.context.settings)) as later:  # type: ignore[attr-defined]
        assert (status(later, ""), status(later, token)) == (401, 401)


def test_a_key_expires_while_it_is_used(sqlite_client: Client, database: Database) -> None:
    with database.write() as transaction:
        token = new_key(transaction, lifetime_seconds=3600)
    assert status(sqlite_client, token) == 200
    with database.write() as transaction:
        transaction.execute(update(api_keys).values(expires_at=database_now()))
    wait_until(lambda: status(sqlite_client, token) == 401)
    assert status(sqlite_client, "") == 401


def test_the_last_use_of_a_key_is_noted(locked: Client, database: Database, token: str) -> None:
    def last_use() -> float | None:
        with database.read() as transaction:
            [key] = keys.all_keys(transaction)
        return key.last_used_at

    assert (status(locked, f"{token}x"), last_use()) == (401, None)
    assert status(locked, token) == 200
    assert last_use() is not None


def test_without_its_database_the_service_says_to_try_again(tmp_path: Path) -> None:
    url = "postgresql://me:correct-horse@127.0.0.1:1/dropout"
    app = create_app(Settings(data_dir=tmp_path, database_url=url))
    client = TestClient(app, raise_server_exceptions=False)
    for headers in ({}, bearer("dsk_1_2")):
        with capture_logs() as lines:
            answer = client.get("/v1/jobs", headers=headers)
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "correct-horse" not in f"{answer.text} {lines}"
    assert client.get("/livez").status_code == 200


def test_whoever_was_let_in_before_the_database_went_is_known_to_the_metrics(
    database: Database,
) -> None:
    keyring = Keyring(database)
    assert keyring.last_known("") is None  # nobody was let in yet
    assert asyncio.run(keyring.caller("")) is ANYBODY
    assert keyring.last_known("") is ANYBODY
    with database.write() as transaction:
        token = new_key(transaction)
    locked = Keyring(database)
    assert asyncio.run(locked.caller("")) is None
    caller = asyncio.run(locked.caller(token))
    assert caller is not None
    assert locked.last_known(token) == caller
    assert locked.last_known("") is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_body_is_not_read_of_who_may_not_send_it(
    locked: TestClient, database: Database, status: int
) -> None:
    with database.write() as transaction:
        token = new_key(transaction, Scope.READ)
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"1000000000")]
    if status == 403:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/datasets",
        "query_string": b"",
        "headers": headers,
    }
    asyncio.run(locked.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == status


# Without keys


HERE = [
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.9.9.9",
    "localhost",
    "LocalHost:80",
    "[::1]",
    "[::1]:80",
]
ELSEWHERE = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "192.0.2.1",
    "0.0.0.0",
    "2130706433",
    "[::1",
    "[::1].evil.example",
    "",
]


def test_without_keys_this_machine_may_call_itself(sqlite_client: Client) -> None:
    for host in HERE:
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            assert sqlite_client.get("/v1/jobs", headers=headers).status_code == 200, host


def test_without_keys_a_name_that_was_made_to_lead_here_does_not(sqlite_client: Client) -> None:
    for host in ELSEWHERE:
        for path in ("/v1/jobs", "/metrics"):
            answer = sqlite_client.get(path, headers={"Host": host})
            assert answer.status_code == 403, (host, path)
            assert "dropout-service keys create" in assert_error(answer, 403, "forbidden")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://127.0.0.1:1", "http://localhost", "http://["],
)
def test_without_keys_a_page_from_elsewhere_can_send_nothing(
    sqlite_client: Client, origin: str
) -> None:
    # A form needs nobody's leave to be sent across sites.
    headers = {"Origin": origin}
    answer = sqlite_client.post("/v1/datasets", files={"file": b"a\n1\n"}, headers=headers)
    assert_problem(answer, 403, "forbidden")
    assert sqlite_client.get("/v1/datasets").json()["data"] == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Same-Origin"])
def test_without_keys_a_page_from_elsewhere_can_get_nothing(
    sqlite_client: Client, site: str
) -> None:
    """An image, a frame or a link of a foreign page: the GET has no Origin."""
    headers = {"Sec-Fetch-Site": site}
    for route in sorted(NEEDED):
        answer = ask(sqlite_client, route, headers=headers)
        assert "another server" in assert_error(answer, 403, "forbidden"), route
    for mode in ("navigate", "no-cors"):
        for page in ("/", "/docs", "/openapi.json"):
            answer = sqlite_client.get(page, headers=headers | {"Sec-Fetch-Mode": mode})
            assert answer.status_code == 200, page


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_without_keys_its_own_page_may_call(sqlite_client: Client, site: str) -> None:
    assert sqlite_client.get("/v1/jobs", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_with_a_key_the_service_may_have_any_name(locked: Client, token: str) -> None:
    headers = bearer(token) | {"Host": "dropout.example", "Origin": "https://elsewhere.example"}
    assert locked.get("/v1/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str, tmp_path: Path) -> None:
    check_bind(host, Settings(data_dir=tmp_path / "data"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_addresses_need_a_key_that_is_in_force(
    host: str, database: Database, sqlite_url: str
) -> None:
    settings = Settings(database_url=sqlite_url)
    for _ in range(2):  # without any key, and with one that is not in force
        with pytest.raises(UnsafeBind, match="dropout-service keys create"):
            check_bind(host, settings)
        with database.write() as transaction:
            new_key(transaction, lifetime_seconds=0)
    with database.write() as transaction:
        new_key(transaction)
    check_bind(host, settings)
    with database.write() as transaction:
        for key in keys.all_keys(transaction):
            keys.revoke(transaction, key.id)
    with pytest.raises(UnsafeBind):
        check_bind(host, settings)


def test_an_open_address_is_refused_while_nobody_knows_of_a_key(tmp_path: Path) -> None:
    url = "postgresql://me:correct-horse@127.0.0.1:1/dropout"
    with pytest.raises(UnsafeBind, match="cannot be asked for keys") as refusal:
        check_bind("0.0.0.0", Settings(data_dir=tmp_path, database_url=url))
    assert "correct-horse" not in str(refusal.value)
