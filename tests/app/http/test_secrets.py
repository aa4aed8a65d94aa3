"""No password and no key comes out, whatever goes wrong."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from app.main import create_app
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.ports import free_port

PASSWORD = "correct-horse-battery"
TOKEN = "dk_of-somebody-who-calls"


@pytest.mark.parametrize(
    "path", ["/readyz", "/metrics", "/v1/jobs", "/v1/models/mdl_1", "/nowhere"]
)
def test_a_database_that_is_away_is_told_without_secrets(path: str, tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url=f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/x",
        redis_url=f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0",
    )
    client = TestClient(create_app(settings), raise_server_exceptions=False)
    with redirect_stdout(StringIO()) as logged:
        answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert logged.getvalue()
    told = logged.getvalue() + answer.text + str(answer.headers)
    assert PASSWORD not in told
    assert TOKEN not in told
