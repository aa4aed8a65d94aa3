from pathlib import Path

import pytest
from pydantic import ValidationError

from store.settings import PREFIX, Settings

SECRETS = {
    "DROPOUT_REDIS_URL": "redis://:correct-horse-battery@cache/0",
    "DROPOUT_DATABASE_URL": "postgresql://me:correct-horse-battery@db/dropout",
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name}".upper(), raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_every_setting_has_a_default() -> None:
    settings = Settings()
    assert settings.database_url is None
    assert settings.renew_seconds < settings.fence_seconds < settings.lease_seconds


def test_the_environment_overrides_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_LEASE_SECONDS", "75")
    assert Settings().lease_seconds == 75


def test_flags_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_LEASE_SECONDS", "75")
    assert Settings(lease_seconds=90).lease_seconds == 90


def test_the_database_lies_in_the_data_folder_unless_told_otherwise() -> None:
    settings = Settings(data_dir=Path("/data"))
    assert settings.database == "sqlite:////data/dropout.db"
    assert settings.artifact_root == Path("/data/artifacts")
    assert Settings(database_url="postgresql://db/x").database == "postgresql://db/x"


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SECRETS)
    settings = Settings(
        data_dir=Path("/some where"), concurrency=3, retry_backoff_seconds=0.125, max_attempts=2
    )
    set_all(monkeypatch, settings.as_environment())
    assert Settings() == settings


def test_a_child_process_gets_the_defaults_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    environment = settings.as_environment()
    set_all(monkeypatch, environment)
    assert Settings() == settings
    assert not SECRETS.keys() & environment.keys()


def test_secrets_are_in_the_environment_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SECRETS)
    settings = Settings()
    assert SECRETS.items() <= settings.as_environment().items()
    assert "correct-horse-battery" not in f"{settings!r} {settings}"


def test_settings_cannot_change_under_a_reader() -> None:
    with pytest.raises(ValidationError):
        Settings().concurrency = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_seconds", "0"),
        ("lease_seconds", "nan"),
        ("lease_seconds", "inf"),
        ("checkpoint_seconds", "-1"),
        ("max_attempts", "0"),
        ("max_upload_bytes", "-5"),
        ("max_columns", "0"),
        ("read_memory_bytes", "0"),
        ("read_seconds", "inf"),
        ("concurrency", "many"),
        ("threads_per_job", "0"),
        ("auto_device_queue", "tpu"),
        ("artifact_cache_bytes", "0"),
        ("hang_seconds", "0"),
        ("database_url", "db/dropout"),
        ("database_url", "sqlite://"),
        ("database_url", "sqlite://dropout.db"),
        ("database_url", "mysql://db/dropout"),
        ("database_url", "postgresql://db:port/dropout"),
        ("redis_url", "cache:6379"),
        ("redis_url", "amqp://cache"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "10.0.0.1,"),
        ("trusted_proxies", "proxy.example"),
        ("artifact_url", "gs://bucket/prefix"),
        ("artifact_url", "/some/folder"),
        ("artifact_url", "s3:///prefix"),
        ("artifact_url", "s3://key:secret@bucket/prefix"),
        ("artifact_url", "s3://bucket/prefix?region=x"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"{PREFIX}{name}".upper(), value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(ValidationError, match="leese_seconds"):
        Settings(leese_seconds=1)  # type: ignore[call-arg]


def test_a_bad_value_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_ARTIFACT_URL", "s3://key:correct-horse-battery@bucket")
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert "correct-horse-battery" not in str(raised.value)


def test_a_bucket_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("s3://bucket", "s3://my.bucket-1/", "s3://bucket/some/prefix"):
        monkeypatch.setenv("DROPOUT_ARTIFACT_URL", url)
        assert Settings().artifact_url == url


def test_the_variables_of_commands_that_call_a_service_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DROPOUT_URL", "http://127.0.0.1:8000")
    Settings()


def test_a_key_of_earlier_releases_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """To start without it would open what was locked."""
    monkeypatch.setenv("DROPOUT_API_KEY", "correct-horse-battery")
    with pytest.raises(ValidationError, match="keys create") as refusal:
        Settings()
    assert "horse" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("DROPOUT_CONCURENCY", "2", "DROPOUT_CONCURRENCY"),
        ("DROPOUT_DATABASE", "postgresql://db/x", "DROPOUT_DATABASE_URL"),
        ("dropout_leese_seconds", "9", "DROPOUT_LEASE_SECONDS"),
        ("DROPOUT_DATABASE_URL", "postgres://me:horse@db/x", "postgresql"),
        ("DROPOUT_DATABASE_URL", "sqlite3:///x", "sqlite"),
        ("DROPOUT_REDIS_URL", "reddis://:horse@cache", "redis"),
    ],
)
def test_a_name_that_is_not_known_is_told_with_the_nearest_that_is(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, known: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=rf"did you mean {known}\?") as refusal:
        Settings()
    assert "horse" not in str(refusal.value)


def test_what_kubernetes_tells_of_a_service_called_dropout_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "tcp://10.0.0.1:8000"
    set_all(
        monkeypatch,
        {
            "DROPOUT_SERVICE_HOST": "10.0.0.1",
            "DROPOUT_API_SERVICE_PORT": "8000",
            "DROPOUT_SERVICE_PORT_HTTP": "8000",
            "DROPOUT_PORT": address,
            "DROPOUT_PORT_8000_TCP": address,
            "DROPOUT_PORT_8000_TCP_PROTO": "tcp",
            "DROPOUT_PORT_8000_TCP_ADDR": "10.0.0.1",
        },
    )
    Settings()
    monkeypatch.setenv("DROPOUT_PORT", "8000")
    with pytest.raises(ValidationError, match="DROPOUT_PORT"):
        Settings()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (None, "/data/dropout.db"),
        ("sqlite:////other/x.db", "/other/x.db"),
        ("sqlite+pysqlite:///x.db?timeout=5", "x.db"),
        ("postgresql://db/x", None),
        ("postgresql+psycopg:///x", None),
    ],
)
def test_the_file_of_the_database_is_known(url: str | None, path: str | None) -> None:
    found = Settings(data_dir=Path("/data"), database_url=url).sqlite_path
    assert found == (None if path is None else Path(path))
