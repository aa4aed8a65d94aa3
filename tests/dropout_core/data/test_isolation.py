import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, socket, sys
from pathlib import Path
from dropout_core.data.isolation import isolate

isolate()
print(len(os.environ), Path("/proc/self/environ").read_bytes().strip(b"\\0"))
Path(sys.argv[1]).write_text("files can be made still")
print(os.stat(sys.argv[1]).st_uid == os.getuid(), [name for _, name in socket.if_nameindex()])
"""


def test_a_process_keeps_files_but_neither_environment_nor_network(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", PROGRAM, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    environment, rest = done.stdout.splitlines()
    assert environment == "0 b''"
    assert rest.startswith("True ")
    if allows_namespaces():
        assert rest in ("True []", "True ['lo']")


def allows_namespaces() -> bool:
    command = ["unshare", "--user", "--net", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
