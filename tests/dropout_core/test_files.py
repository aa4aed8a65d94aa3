import subprocess
import sys
from pathlib import Path

import pytest

from dropout_core.files import write_atomically

# The kernel, not a fake, fails the write: no file of this process may grow beyond 1000 bytes.
WRITE_TOO_MUCH = """
import resource, signal, sys
from pathlib import Path
from dropout_core.files import write_atomically

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), b"new" * 10_000)
except OSError as error:
    sys.exit(error.strerror)
"""


def test_a_file_is_written_whole_into_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"old and longer")
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("existing", [None, b"old"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, existing: bytes | None) -> None:
    path = tmp_path / "file"
    if existing is not None:
        path.write_bytes(existing)
    command = [sys.executable, "-c", WRITE_TOO_MUCH, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "File too large"
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([existing] if existing else [])
