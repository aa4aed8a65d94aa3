import stat
from pathlib import Path

import pytest

from store.operations.private_files import make_private
from store.settings import Settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory that others can read, of an earlier release."""
    folder = tmp_path / "data"
    (folder / "artifacts").mkdir(parents=True)
    for name in ("dropout.db", "dropout.db-wal", "serve.lock"):
        (folder / name).touch()
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_others_lose_their_rights_on_stored_data(folder: Path) -> None:
    assert make_private(Settings(data_dir=folder)) == []
    modes = {path.name: mode(path) for path in folder.iterdir()}
    private = {"dropout.db": 0o600, "dropout.db-wal": 0o600, "serve.lock": 0o600}
    assert modes == {**private, "artifacts": 0o700}
    assert mode(folder) == 0o700


def test_a_folder_that_holds_more_than_the_services_data_stays_open(folder: Path) -> None:
    others = folder / "of somebody else"
    others.touch(0o644)
    make_private(Settings(data_dir=folder))
    assert (mode(folder), mode(others)) == (0o755, 0o644)
    assert (mode(folder / "dropout.db"), mode(folder / "artifacts")) == (0o600, 0o700)


def test_a_database_elsewhere_is_private_too(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "records.db"
    elsewhere.touch(0o644)
    make_private(Settings(data_dir=folder, database_url=f"sqlite:///{elsewhere}"))
    assert mode(elsewhere) == 0o600


def test_a_data_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert make_private(Settings(data_dir=tmp_path / "data")) == []
    assert not (tmp_path / "data").exists()
