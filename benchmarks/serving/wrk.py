"""Send requests with wrk, as fast as they are answered."""

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.protocols import Body
from benchmarks.serving.servers import ServerFailed

NUM_CONNECTIONS = 8
WARM_UP_SECONDS = 2.0
NUM_WARM_UPS = 5
SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Measured:
    """The results of one run of wrk; its latencies are those of a closed loop."""

    num_requests: int
    num_failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def requests_per_second(self) -> float:
        return self.num_requests / self.seconds


def require_wrk() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk is not installed: `apt-get install wrk`, or its source")


def load(url: str, bodies: Sequence[Body], *, seconds: float) -> Measured:
    """POST the bodies in turn. Raises ServerFailed if a request fails."""
    with loading(url, bodies, seconds=seconds) as process:
        measured = finish(process)
    require_success(measured)
    return measured


def warm_up(url: str, bodies: Sequence[Body]) -> None:
    """Send requests until all succeed for a while: a process loads the model when first asked."""
    for _ in range(NUM_WARM_UPS):
        with loading(url, bodies, seconds=WARM_UP_SECONDS) as process:
            measured = finish(process)
        if measured.num_requests and not measured.num_failed:
            return
    require_success(measured)


def require_success(measured: Measured) -> None:
    """Raise ServerFailed if a request failed, or none was answered."""
    if measured.num_failed or not measured.num_requests:
        raise ServerFailed(f"{measured.num_failed} of {measured.num_requests} requests failed")


@contextmanager
def loading(url: str, bodies: Sequence[Body], *, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Yield wrk while it runs, on the cores of this process."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for number, body in enumerate(bodies):
            (Path(folder) / str(number)).write_bytes(body.content)
        headers = [word for header in bodies[0].headers.items() for word in header]
        command = [
            *("wrk", "--threads", "1", "--connections", str(NUM_CONNECTIONS)),
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", "30s"),
            *("--script", str(SCRIPT), url, "--", folder, *headers),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


def finish(process: subprocess.Popen[str]) -> Measured:
    """Wait for wrk, and return its results."""
    output, _ = process.communicate()
    if process.returncode != 0:
        raise ServerFailed(f"wrk ended with {process.returncode}")
    return parse(output)


def parse(output: str) -> Measured:
    """Parse the line that wrk.lua ends with."""
    return Measured(**json.loads(output.strip().splitlines()[-1]))


def cpu_seconds() -> float:
    """Return the CPU seconds of all ended children; the difference over a run is the run's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
