"""The process of a peer, which a module of the benchmarks runs in the peers' environment."""

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 300
STOP_SECONDS = 20


class PeerFailed(Exception):
    """A peer cannot take part, or not any more; the message says why in one line."""


class Peer:
    """The process of a peer, which starts at once. Call `wait` until it is ready, then `ask`.

    `module` answers each line of its standard input with a line of JSON.
    """

    def __init__(
        self,
        python: Path,
        arguments: Sequence[str],
        *,
        threads: int,
        module: str = "benchmarks.peers",
    ) -> None:
        self._chatter = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        # H2O does not delete its logs.
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True)
        command = [str(python), "-m", module, *arguments]
        self._process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            cwd=Path(__file__).parent.parent,
            env=os.environ | _environment(threads) | {"TMPDIR": self._folder.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._chatter,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the parent, which ends the peer
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> dict[str, str]:
        """Wait until the peer is ready, and return the versions of its libraries."""
        versions: dict[str, str] = self._answer()["ready"]
        return versions

    def train(self, num_batches: int) -> float:
        """Train `num_batches` batches and return the seconds that they took."""
        return float(self.ask(str(num_batches))["seconds"])

    def ask(self, line: str) -> dict[str, Any]:
        """Return the answer to a line. Raises PeerFailed with the peer's reason."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerFailed(self._last_words()) from None
        return self._answer()

    def close(self) -> None:
        """End the process; kill it if it does not end by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        for stop in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                stop()
        self._process.wait()
        self._process.stdout.close()
        self._chatter.close()
        self._folder.cleanup()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = threading.Timer(ANSWER_SECONDS, self._process.terminate)
        deadline.start()
        try:
            line = self._process.stdout.readline()
        finally:
            deadline.cancel()
        if not line:
            raise PeerFailed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    def _last_words(self) -> str:
        status = self._process.wait(STOP_SECONDS)
        self._chatter.seek(0)
        lines = [line.strip() for line in self._chatter if line.strip()]
        return f"ended with status {status}" + (f": {lines[-1]}" if lines else "")


def _environment(threads: int) -> dict[str, str]:
    """Return the variables that a library reads when it is imported."""
    pools = ("OMP", "OPENBLAS", "MKL")
    return {f"{pool}_NUM_THREADS": str(threads) for pool in pools} | {
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "NO_PROXY": "localhost,127.0.0.1",
    }
