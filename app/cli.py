"""`dropout-service`: every role and the demo, behind one command."""

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from store.settings import PREFIX, Settings

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

Host = Annotated[str, typer.Option(help="Address to bind; beyond loopback an API key is needed.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to bind; 0 takes a free one.")]
DataDir = Annotated[Path | None, typer.Option(help="Where everything is kept.")]
Processes = Annotated[int, typer.Option(min=1, help="API processes that share the port.")]


def main() -> None:
    """The console script."""
    cli()


@cli.command()
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = None,
    processes: Processes = 1,
) -> None:
    """Run the whole service on this machine: API and local worker on SQLite."""
    from app import security
    from app import serve as embedded
    from store.lifetime import AlreadyRunning
    from store.logs import configure_logging

    settings = _settings(data_dir=data_dir)
    configure_logging()
    try:
        security.check_bind(host, settings)
        embedded.serve(settings, host=host, port=port, num_processes=processes)
    except (security.UnsafeBind, AlreadyRunning, embedded.NotReady, OSError) as error:
        _fail(str(error))


@cli.command()
def api(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run the API alone; workers run elsewhere."""
    import uvicorn

    from app import security
    from app.main import create_app
    from dropout_core.data.ingest import warm_up
    from store.lifetime import on_parent_exit
    from store.logs import configure_logging

    settings = _settings(data_dir=data_dir)
    configure_logging()
    try:
        if fd is None:
            security.check_bind(host, settings)
        config = uvicorn.Config(
            create_app(settings),
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        listener = config.bind_socket() if fd is None else socket.socket(fileno=fd)
    except (security.UnsafeBind, OSError) as error:
        _fail(str(error))
    if with_parent:
        on_parent_exit(lambda: setattr(server, "should_exit", True))
    # So that the first upload need not wait for what reads it.
    threading.Thread(target=warm_up, daemon=True).start()
    server.run(sockets=[listener])


@cli.command()
def worker(
    *,
    queues: Annotated[str, typer.Option(help="Queues to take jobs from.")] = "cpu",
    data_dir: DataDir = None,
) -> None:
    """Run jobs of the scaled-out service."""
    _become("celery", "--queues", queues, data_dir=data_dir)


@cli.command()
def dispatch(*, data_dir: DataDir = None) -> None:
    """Relay accepted jobs to the workers of the scaled-out service."""
    _become("dispatch", data_dir=data_dir)


@cli.command()
def demo() -> None:
    """Train two models that differ in dropout, over HTTP, and compare them."""
    from app import demo as show

    try:
        show.run()
    except show.DemoFailed as error:
        _fail(str(error))


def _settings(**flags: Any) -> Settings:
    """Flags, then the environment, then defaults; exits with one line if they make no sense."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        _fail("; ".join(_flaw(flaw["loc"], flaw["msg"]) for flaw in error.errors()))


def _flaw(location: tuple[int | str, ...], message: str) -> str:
    return ": ".join([*(f"{PREFIX}{name}".upper() for name in location[:1]), message])


def _become(role: str, *arguments: str, data_dir: Path | None) -> NoReturn:
    """Turn this process into one of the worker's, which this package does not import."""
    environment = os.environ | _settings(data_dir=data_dir).as_environment()
    command = [sys.executable, "-m", "worker", role, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(1)
