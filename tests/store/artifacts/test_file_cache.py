import os
import time
from pathlib import Path

import pytest

from store.artifacts.file_cache import IN_USE_SECONDS, UNUSED_SECONDS, FileCache

MINUTE = 60.0


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    """Room for a hundred bytes."""
    return FileCache(tmp_path / "cache", max_bytes=100)


def add(cache: FileCache, key: str, *, size: int = 40, age: float = 0) -> Path:
    path = cache.add(key, [b"x" * size], size_bytes=size)
    grow_older(path, age)
    return path


def grow_older(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def kept(cache: FileCache, *keys: str) -> list[str]:
    return [key for key in keys if cache.get(key) is not None]


def test_a_copy_is_found_by_its_key(cache: FileCache) -> None:
    path = cache.add("jobs/1/a", [b"some ", b"", b"bytes"], size_bytes=10)
    assert cache.get("jobs/1/a") == path
    assert path.read_bytes() == b"some bytes"
    assert cache.get("jobs/1/b") is None
    cache.forget("jobs/1/a")
    assert cache.get("jobs/1/a") is None
    cache.forget("jobs/1/a")


@pytest.mark.parametrize("size", [9, 11])
def test_what_did_not_come_whole_is_not_kept(cache: FileCache, tmp_path: Path, size: int) -> None:
    with pytest.raises(OSError, match=f"received {size} bytes of 'key' instead of 10"):
        cache.add("key", [b"x" * size], size_bytes=10)
    assert cache.get("key") is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_least_recently_used_goes_first(cache: FileCache) -> None:
    add(cache, "a", age=40 * MINUTE)
    add(cache, "b", age=30 * MINUTE)
    add(cache, "c")
    assert kept(cache, "a", "b", "c") == ["b", "c"]


def test_a_copy_that_is_used_becomes_the_last_to_go(cache: FileCache) -> None:
    add(cache, "a", age=40 * MINUTE)
    add(cache, "b", age=30 * MINUTE)
    cache.get("a")
    add(cache, "c")
    assert kept(cache, "a", "b", "c") == ["a", "c"]


def test_what_was_used_just_now_stays_however_little_room_there_is(cache: FileCache) -> None:
    add(cache, "a", age=IN_USE_SECONDS - MINUTE)
    add(cache, "b", age=IN_USE_SECONDS - MINUTE)
    add(cache, "c", size=1000)
    assert kept(cache, "a", "b", "c") == ["a", "b", "c"]


def test_what_was_not_used_for_a_day_goes_however_much_room_there_is(cache: FileCache) -> None:
    old = add(cache, "a/1", size=1, age=UNUSED_SECONDS)
    half = old.with_name(".half")  # of a process that was killed
    half.touch()
    grow_older(half, UNUSED_SECONDS)
    add(cache, "b", size=1)
    assert kept(cache, "a/1", "b") == ["b"]
    assert not old.parent.exists()


def test_what_is_still_coming_stays(cache: FileCache) -> None:
    coming = add(cache, "a/1").with_name(".coming")
    coming.touch()
    grow_older(coming, 40 * MINUTE)
    add(cache, "b", size=1000)
    assert coming.exists()


def test_an_open_file_outlives_its_copy(cache: FileCache) -> None:
    with add(cache, "a", size=50, age=40 * MINUTE).open("rb") as file:
        add(cache, "b", size=100)
        assert kept(cache, "a") == []
        assert file.read() == b"x" * 50
