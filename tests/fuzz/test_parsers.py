"""Every parser reads a file, or refuses it with an error that is meant for that; nothing is left.

Some of what is tried has to be read: a parser that refused everything would hold no promise.
"""

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.events.answer import last_event_of
from app.http.answers import preferred
from app.http.errors import RequestError
from dropout_core.data.columns import describe
from dropout_core.data.ingest import Limits, ingest, warm_up
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import convert
from dropout_core.data.readers.table import scan
from dropout_core.errors import DataError, ModelError
from dropout_core.files import sync_folder
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import MANIFEST, WEIGHTS, save_model
from dropout_core.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from dropout_core.training.state import TrainingState
from store.access import keys
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database
from store.operations.backup import backup
from store.operations.restore import LOCKS, CannotRestore, restore
from store.settings import Settings
from tests.fuzz.mutations import mutated
from tests.support.fuzz_figures import FUZZ, record
from tests.support.served_models import make_model
from tests.support.training_runs import made_state
from tests.support.workbooks import SHEET, workbook

pytestmark = [
    # Of an input that fails, which is shown whole.
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    # Of a manifest without features, whose weights then do not fit.
    pytest.mark.filterwarnings("ignore:Initializing zero-element tensors"),
]

MEBIBYTE = 1 << 20
LIMITS = Limits(max_bytes=MEBIBYTE, memory_bytes=512 * MEBIBYTE, seconds=60, max_columns=1_000)


def fuzzed(num_inputs: int) -> settings:
    return settings(
        max_examples=num_inputs * FUZZ,
        deadline=None,
        database=None,
        derandomize=FUZZ == 1,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )


def parquet(**options: Any) -> bytes:
    frame = pl.DataFrame(
        {
            "number": [1.5, None, 3.0],
            "whole": [1, 2, 2**62],
            "word": ["a", "b", "a"],
            "yes": [True, False, None],
            "day": pl.Series(["2024-01-01", None, "2024-02-01"]).str.to_date(),
            "list": [[1], [2, 3], []],
            "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
        }
    )
    file = io.BytesIO()
    frame.write_parquet(file, **options)
    return file.getvalue()


def npz(save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, a=np.arange(6.0).reshape(3, 2), b=np.array(["x", "y", "z"]), c=np.array([1, 2, 3]))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(3, 2))
    return file.getvalue()


def arrow(write: str) -> bytes:
    file = io.BytesIO()
    getattr(pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", "x"]}), write)(file)
    return file.getvalue()


CSV = b'name;"a ""b""";c\r\n"x;\ny";1,5;2024-01-01\r\n\r\nz;NA;31/12/2024 10:00\r\n'
TSV = "a\tb\n1\tyes\n-2e5\tno\n\té\n".encode()
LABELS = b"\0\0\x08\x01" + struct.pack(">I", 3) + bytes([7, 8, 9])
IMAGES = b"\0\0\x0d\x03" + struct.pack(">III", 3, 2, 2) + np.arange(12, dtype=">f4").tobytes()
TABLES = [
    *(CSV, TSV, TSV.decode().encode("utf-16"), b"a,b\n" + b"1,2\n" * 300, LABELS, IMAGES),
    *(parquet(compression="uncompressed"), parquet(compression="zstd"), parquet(statistics=False)),
    *(npz(np.savez), npz(np.savez_compressed), npy()),
    *(arrow("write_ipc"), arrow("write_ipc_stream"), workbook(*SHEET)),
    b'{"a": 1, "b": "x"}\n{"a": 2.5, "b": null}\n',
    b'[{"a": true, "b": "2024-01-01"}, {"b": "x\\ny"}]',
]
FILES = TABLES + [gzip.compress(table, mtime=0) for table in TABLES]

OPTIONS = st.one_of(
    st.just(ReadOptions()),
    st.builds(
        ReadOptions,
        delimiter=st.sampled_from([None, ",", ";", "\t", " ", "|"]),
        quote=st.sampled_from([None, '"', "'", ""]),
        encoding=st.sampled_from([None, "utf-8", "latin-1", "utf-16", "shift_jis", "iso2022_jp"]),
        header=st.sampled_from([None, True, False]),
        missing=st.sampled_from([(), ("1",), ("", "x")]),
        decimal=st.sampled_from([None, ",", "."]),
        date_format=st.sampled_from([None, "%Y%m%d"]),
        types=st.sampled_from([{}, {"a": "numeric"}, {"b": "datetime"}]),
        skip_rows=st.sampled_from([0, 1]),
        comment=st.sampled_from([None, "#", "1"]),
    ),
)


def test_a_table_is_read_or_refused(tmp_path: Path) -> None:
    num_read = []

    @fuzzed(150)
    @given(content=mutated(FILES), labels=st.none() | mutated([LABELS]), options=OPTIONS)
    def read(content: bytes, labels: bytes | None, options: ReadOptions) -> None:
        sources = written(tmp_path, content, labels)
        try:
            convert(
                sources,
                tmp_path / "table",
                options=options,
                max_bytes=MEBIBYTE,
                max_columns=LIMITS.max_columns,
                as_text=len(content) % 5 == 0,
            )
            describe(scan(tmp_path / "table"))
            (tmp_path / "table").unlink()
            num_read.append(True)
        except DataError:
            (tmp_path / "table").unlink(missing_ok=True)
            num_read.append(False)
        assert sorted(tmp_path.iterdir()) == sorted(sources)

    read()
    record("tables", inputs=len(num_read), read=sum(num_read))
    assert 0 < sum(num_read) < len(num_read)


def test_an_upload_is_read_or_refused_by_its_process(tmp_path: Path) -> None:
    warm_up()  # the first reader would spend its time on imports
    num_read = []
    crashes: list[bytes] = []  # which the service survives; that there are none is better

    @fuzzed(40)
    @given(content=mutated(FILES), options=OPTIONS)
    def read(content: bytes, options: ReadOptions) -> None:
        sources = written(tmp_path, content, None)
        try:
            ingest(sources, tmp_path / "table", options=options, limits=LIMITS)
            (tmp_path / "table").unlink()
            num_read.append(True)
        except DataError as error:
            num_read.append(False)
            crashes.extend([content] if "made its reader" in str(error) else [])
        assert sorted(tmp_path.iterdir()) == sources

    read()
    record("uploads, each in a process", inputs=len(num_read), read=sum(num_read))
    assert 0 < sum(num_read) < len(num_read)
    assert not crashes


def written(folder: Path, content: bytes, labels: bytes | None) -> list[Path]:
    """The files of an upload, and nothing beside them."""
    paths = [folder / "first", folder / "second"]
    for path in paths:
        path.unlink(missing_ok=True)
    paths = paths if labels is not None else paths[:1]
    for path, bytes_ in zip(paths, (content, labels), strict=False):
        assert bytes_ is not None
        path.write_bytes(bytes_)
    return paths


def test_no_name_in_an_archive_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    array = io.BytesIO()
    np.save(array, np.array([1, 2]))
    with zipfile.ZipFile(folder / "upload", "w") as archive:
        for name in ("../../escaped.npy", str(tmp_path / "absolute.npy"), "..\\escaped.npy"):
            archive.writestr(name, array.getvalue())
    ingest([folder / "upload"], folder / "table", limits=LIMITS)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(files) == [folder / "table", folder / "upload"]


VALUES = st.sampled_from(
    [*(None, True, 0, -1, 0.5, 1e308, 2**31, 2**63, 10**30), *("", "x", "relu", "numeric", "\0")]
)
JSON: st.SearchStrategy[Any] = st.one_of(
    VALUES,
    st.lists(VALUES, max_size=3),
    st.dictionaries(st.sampled_from(["", "name", "kind", "x"]), VALUES, max_size=2),
    st.lists(st.lists(VALUES, max_size=2), max_size=2),
)


@st.composite
def documents(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A valid document with other values in it, or damaged."""
    if draw(st.booleans()):
        return draw(mutated(valid))
    document = json.loads(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 2))):
        place = document
        while True:
            names = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not names:
                break
            name = draw(st.sampled_from(names))
            if not isinstance(place[name], dict | list) or draw(st.integers(0, 3)) == 0:
                if isinstance(place, dict) and draw(st.integers(0, 4)) == 0:
                    del place[name]
                else:
                    place[name] = draw(JSON)
                break
            place = place[name]
    return json.dumps(document).encode()


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, bytes]]:
    """Manifest and weights of several models."""
    saved = []
    for options in ({}, {"categories": True, "batch_norm": True}, {"num_classes": None}):
        folder = tmp_path_factory.mktemp("model")
        save_model(folder, *make_model(**options))
        saved.append(((folder / MANIFEST).read_bytes(), (folder / WEIGHTS).read_bytes()))
    return saved


def test_a_model_is_read_or_refused(
    tmp_path: Path, saved_models: list[tuple[bytes, bytes]]
) -> None:
    num_read = []
    manifests = [manifest for manifest, _ in saved_models]

    @fuzzed(60)
    @given(
        manifest=documents(manifests),
        weights=st.sampled_from([weights for _, weights in saved_models])
        | mutated([weights for _, weights in saved_models]),
    )
    def load(manifest: bytes, weights: bytes) -> None:
        digest = hashlib.sha256(weights).hexdigest()
        for _, own in saved_models:  # damage is to be found behind the checksum
            manifest = manifest.replace(hashlib.sha256(own).hexdigest().encode(), digest.encode())
        (tmp_path / MANIFEST).write_bytes(manifest)
        (tmp_path / WEIGHTS).write_bytes(weights)
        try:
            Predictor.load(tmp_path)
            num_read.append(True)
        except ModelError:
            num_read.append(False)

    load()
    record("models", inputs=len(num_read), read=sum(num_read))
    assert 0 < sum(num_read) < len(num_read)


def test_a_checkpoint_is_read_or_refused(tmp_path: Path) -> None:
    num_read = []
    path = save_checkpoint(tmp_path, made_state())
    content = path.read_bytes()
    place = path.name.split(".")[0]
    path.unlink()

    @fuzzed(100)
    @given(damaged=mutated([content]) | headers(content))
    def load(damaged: bytes) -> None:
        path = tmp_path / f"{place}.{hashlib.sha256(damaged).hexdigest()}.safetensors"
        path.write_bytes(damaged)
        try:
            assert isinstance(load_checkpoint(path), TrainingState)
            num_read.append(True)
        except CheckpointError:
            num_read.append(False)
        path.unlink()

    load()
    record("checkpoints", inputs=len(num_read), read=sum(num_read))
    assert 0 < sum(num_read) < len(num_read)


def headers(content: bytes) -> st.SearchStrategy[bytes]:
    """The checkpoint with another header, of a length that fits."""
    end = 8 + int.from_bytes(content[:8], "little")

    def with_header(header: bytes) -> bytes:
        return len(header).to_bytes(8, "little") + header + content[end:]

    nested = st.integers(1, 20_000).map(lambda depth: b"[" * depth + b"]" * depth)
    others = [
        b"[]",
        b"{}",
        b'{"__metadata__": []}',
        b'{"__metadata__": {"values": "' + b"[" * 9_000,
    ]
    return (documents([content[8:end]]) | nested | st.sampled_from(others)).map(with_header)


@pytest.fixture
def archive(tmp_path: Path) -> dict[str, bytes]:
    """The members of a backup of a service with an artifact."""
    place = Settings(data_dir=tmp_path / "original")
    with closing(Database(place.database)) as database:
        database.migrate()
    made = tmp_path / "backup.tar"
    backup(place, LocalArtifacts(place.artifact_root), made)
    with tarfile.open(made) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in members.items() if file is not None}


def tar_of(members: list[tuple[str, bytes, bytes]], *, mode: str = "w") -> bytes:
    """An archive of members: a name, a type and a content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
        for name, type_, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = type_, len(content)
            info.linkname = "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


ODD_NAMES = st.one_of(
    st.sampled_from(
        ["", ".", "/", "..", "../x", "/etc/x", "artifacts", "artifacts/../x", "a" * 300]
    ),
    st.sampled_from(["artifacts/x/", "artifacts/\0", "dropout.db", "backup.json", "artifacts/a/b"]),
    st.text(max_size=5),
)
TYPES = st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])


def test_a_backup_is_restored_or_refused(tmp_path: Path, archive: dict[str, bytes]) -> None:
    num_read = []
    whole = [(name, tarfile.REGTYPE, content) for name, content in archive.items()]
    odd = st.tuples(ODD_NAMES, TYPES, st.binary(max_size=20))
    archives = st.one_of(
        mutated([tar_of(whole), tar_of(whole, mode="w:gz"), tar_of(whole, mode="w:xz")]),
        st.lists(odd, min_size=1, max_size=2).map(lambda more: tar_of([*whole, *more])),
        st.lists(odd, min_size=1, max_size=2).map(lambda more: tar_of([*more, *whole])),
        st.binary(max_size=600),
    )
    database = archive["dropout.db"]
    revision = json.loads(archive["manifest.json"])["schema_revision"].encode()
    unknown = database.replace(revision, b"x" * len(revision))
    assert unknown != database
    damaged = mutated([database]) | st.just(unknown)

    @fuzzed(40)
    @given(content=archives | damaged.map(lambda database: with_database(archive, database)))
    def put_back(content: bytes) -> None:
        source, folder = tmp_path / "source", tmp_path / "restored"
        source.write_bytes(content)
        try:
            restore(Settings(data_dir=folder), source)
            num_read.append(True)
            remove(folder)
        except (CannotRestore, OSError):  # of a name, say, that no file can have
            num_read.append(False)
            left = {path.name for path in folder.iterdir()} if folder.exists() else set()
            assert left <= set(LOCKS)
        assert {path.name for path in tmp_path.iterdir()} <= {
            *("source", "restored", "original", "backup.tar")
        }

    put_back()
    record("backups", inputs=len(num_read), read=sum(num_read))
    assert 0 < sum(num_read) < len(num_read)


def with_database(archive: dict[str, bytes], database: bytes) -> bytes:
    """A whole backup whose database is damaged, and was so when its manifest was made."""
    digests = {
        hashlib.sha256(content).hexdigest(): hashlib.sha256(new).hexdigest()
        for content, new in [(archive["dropout.db"], database)]
    }
    members = []
    for name, content in archive.items():
        for old, new in digests.items():
            content = content.replace(old.encode(), new.encode())
        kept = database if name == "dropout.db" else content
        members.append((name, tarfile.REGTYPE, kept))
    return tar_of(members)


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    sync_folder(folder.parent)


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with closing(Database(sqlite_url)) as database:
        yield database


def test_a_header_is_read_or_refused(database: Database) -> None:
    texts = st.text(max_size=30) | st.text("dsk_a0,;=q.*/ \ud800", max_size=30)
    num_tried = []

    with database.write() as transaction:
        _, token = keys.create(transaction, tenant="default", name="own", scopes=[])
    ours = st.tuples(st.integers(0, len(token)), st.integers(0, len(token)), texts).map(
        lambda parts: token[: parts[0]] + parts[2] + token[parts[1] :]
    )

    @fuzzed(100)
    @given(text=texts | ours)
    def read(text: str) -> None:
        assert preferred(text, ["a/b", "c/d"]) in ("a/b", "c/d", None)
        with database.read() as transaction:
            found = keys.find(transaction, text)
        assert (found is not None) == (text == token)
        with suppress(RequestError):
            assert 0 <= last_event_of(text) < 2**31
        num_tried.append(text)

    read()
    record("Accept, Last-Event-ID and Authorization", inputs=len(num_tried))
