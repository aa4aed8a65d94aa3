"""The API in the process of the test, without a server."""

import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it would like another HTTP client than the service's
    from starlette import testclient


class TestClient(testclient.TestClient):
    """Calls an app in this process, as from this machine."""

    __test__ = False  # to pytest it has the name of a test

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **{"base_url": "http://127.0.0.1", **options})


def context_of(client: TestClient) -> Any:
    return client.app.state.context  # type: ignore[attr-defined]
