"""Run servers in their own processes, on their own cores."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import TextIO

import httpx
import psutil

from benchmarks.serving import cores

START_SECONDS = 120
STOP_SECONDS = 30
ANSWER_SECONDS = 60
PACKAGES = {"bentoml", "fastapi", "litserve", "mlserver", "pydantic", "torch", "uvicorn"}
ROOT = Path(__file__).parent.parent.parent
PORT = "{port}"
"""Stands for a free port in a server's command and environment, another at each start."""


class ServerFailed(Exception):
    """A server cannot be measured; the message says why in one line."""


@dataclass(frozen=True)
class Server:
    """A command with `PORT` for its port, and the path that answers 200 once it is ready."""

    name: str
    command: Sequence[str]
    ready: str
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that is ready: its first process, and a client for it."""

    process: psutil.Process
    client: httpx.Client
    port: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def api_processes(self) -> list[psutil.Process]:
        """Return the processes of this project's service that answer."""
        return self._children("app")

    def worker_processes(self) -> list[psutil.Process]:
        """Return the processes that train, which are idle here."""
        return [
            process
            for worker in self._children("worker")
            for process in (worker, *worker.children(recursive=True))
        ]

    def _children(self, module: str) -> list[psutil.Process]:
        return [each for each in self.process.children() if each.cmdline()[1:3] == ["-m", module]]


@contextmanager
def running(server: Server, *, num_processes: int = 1) -> Iterator[Running]:
    """Yield the server once it is ready, on as many cores as it has processes that answer.

    All its processes end with the block. Raises ServerFailed if it does not start, or if a
    request fails.
    """
    port = _free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-"))
        chatter = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
        process = subprocess.Popen(
            [*cores.command(cores.of_servers(num_processes)), *_filled(server.command, port)],
            cwd=ROOT,
            env=os.environ | _environment(folder) | _filled_values(server.environment, port),
            stdout=chatter,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the parent, which ends it
        )
        stack.callback(_end, process)
        client = stack.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_SECONDS, trust_env=False
            )
        )
        _wait(client, server, process, chatter)
        ready = Running(psutil.Process(process.pid), client, port)
        for idle in ready.worker_processes():
            cores.pin(idle, cores.of_load(num_processes))
        try:
            yield ready
        except (ServerFailed, httpx.HTTPError) as error:
            raise ServerFailed(f"{server.name}: {error}; {_last_words(chatter)}") from error


def service(data_dir: Path, *, num_processes: int = 1) -> Server:
    """Return this project's service with its defaults, except for the log: no peer writes one."""
    command = [sys.executable, "-m", "app", "serve", "--data-dir", str(data_dir)]
    command += ["--port", PORT, "--processes", str(num_processes)]
    environment = {"DROPOUT_ACCESS_LOG": "false"}
    return Server("ours", command, "/readyz", environment)


def peers(environments: Path, weights: Path) -> list[Server]:
    """Return the peers, from the environments that `make bench-serving-peers` makes."""
    python = str(environments.absolute() / "others" / "bin" / "python")
    mlserver = str(environments.absolute() / "mlserver" / "bin" / "mlserver")
    modules = "benchmarks.serving_peers"
    found = {"BENCHMARK_WEIGHTS": str(weights)}
    bentoml = [python, "-m", "bentoml", "serve", f"{modules}.bentoml_server:Network"]
    ports = {"MLSERVER_HTTP_PORT": PORT, "MLSERVER_GRPC_PORT": "0", "MLSERVER_METRICS_PORT": "0"}
    return [
        Server("FastAPI", [python, "-m", f"{modules}.fastapi_server", PORT], "/docs", found),
        Server("LitServe", [python, "-m", f"{modules}.litserve_server", PORT], "/health", found),
        Server("BentoML", [*bentoml, "--host", "127.0.0.1", "--port", PORT], "/readyz", found),
        Server(
            "MLServer",
            [mlserver, "start", "benchmarks/serving_peers/mlserver"],
            "/v2/models/network/ready",
            found | ports | {"MLSERVER_HOST": "127.0.0.1"},
        ),
    ]


def versions(environments: Path) -> dict[str, dict[str, str]]:
    """Return the versions of the peers' packages, by environment."""
    return {
        folder.parents[2].name: {
            each.name: each.version
            for each in distributions(path=[str(folder)])
            if each.name in PACKAGES
        }
        for folder in sorted(environments.glob("*/lib/*/site-packages"))
    }


def _environment(folder: str) -> dict[str, str]:
    """Return variables for one thread a matrix product, no files left behind and no telemetry."""
    pools = ("OMP", "OPENBLAS", "MKL")
    return {f"{pool}_NUM_THREADS": "1" for pool in pools} | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": folder,
        "BENTOML_HOME": folder,
        "BENTOML_DO_NOT_TRACK": "True",
        "NO_PROXY": "localhost,127.0.0.1",
    }


def _filled(words: Sequence[str], port: int) -> list[str]:
    return [word.replace(PORT, str(port)) for word in words]


def _filled_values(values: dict[str, str], port: int) -> dict[str, str]:
    return dict(zip(values, _filled(list(values.values()), port), strict=True))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(
    client: httpx.Client, server: Server, process: subprocess.Popen[bytes], chatter: TextIO
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if client.get(server.ready).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not yet
        time.sleep(0.1)
    raise ServerFailed(f"{server.name} did not start; {_last_words(chatter)}")


def _last_words(chatter: TextIO) -> str:
    chatter.seek(0)
    lines = [line.strip() for line in chatter if line.strip()]
    return f"it said: {lines[-1]}" if lines else "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server, and kill processes that it has left behind."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for orphan in psutil.wait_procs(family, timeout=2)[1]:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()
