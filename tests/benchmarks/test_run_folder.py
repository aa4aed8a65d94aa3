"""A run leaves no process and no file behind, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import run_folder
from tests.support.processes import below, command_line, is_alive
from tests.support.waiting import wait_until

RUN = """
import subprocess, sys, tempfile, time
from benchmarks.run_folder import RunFolder
with RunFolder(grace_seconds=0.1):
    tempfile.mkdtemp()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(sleeper.pid, tempfile.gettempdir(), flush=True)
    {then}
"""


def start(program: str, tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_run_has_started_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    with start(RUN.format(then="time.sleep(600)"), tmp_path) as run:
        assert run.stdout is not None
        pid, folder = run.stdout.readline().split()
        sleeper = psutil.Process(int(pid))
        assert Path(folder).parent == tmp_path
        run.send_signal(number)
    wait_until(lambda: not is_alive(sleeper) and not Path(folder).exists(), 60)
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_at_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = run_folder.RunFolder(grace_seconds=0.1).__enter__()
    (run.folder / "forgotten").touch()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as sleeper:
        left = run.close()
        assert sleeper.wait(10) == -signal.SIGTERM
    assert left.files == ["forgotten"]
    assert [line.split()[-1] for line in left.processes] == ["time.sleep(600)"]
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_that_is_terminated_ends_its_service(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.service"]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as benchmark:
        service = wait_until(
            lambda: [each for each in below(benchmark.pid) if "serve" in command_line(each)], 60
        )
        started = wait_until(lambda: below(service[0].pid), 60)
        benchmark.terminate()
    wait_until(lambda: not any(is_alive(each) for each in (*service, *started)), 60)
    assert benchmark.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
