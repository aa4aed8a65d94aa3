"""`dropout-service`: one command for every role, keys, backups, sweeps and the demo."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

from store.operations.gc_freeze import frozen_imports

try:
    import typer

    from app.cli import key_commands, sweep_commands
    from app.cli.terminal import RELEASE, DataDir, fail, say, settings_of, warn
    from store.operations.private_files import create_private_files
except ModuleNotFoundError as missing:  # the library alone is installed
    print(  # noqa: T201
        f"error: dropout-service needs {missing.name}, which `pip install .` leaves out: "
        "run `pip install '.[service]'`",
        file=sys.stderr,
    )
    sys.exit(2)

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
cli.add_typer(key_commands.cli, name="keys")
cli.add_typer(sweep_commands.cli, name="sweeps")

Host = Annotated[str, typer.Option(help="Address to bind; other than loopback needs an API key.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to bind; 0 takes a free one.")]
Processes = Annotated[int, typer.Option(min=1, help="API processes that share the port.")]


def main() -> None:
    """Run the console script."""
    create_private_files()
    cli()


def _tell_release(asked: bool) -> None:
    if asked:
        say(f"dropout-service {RELEASE}")
        raise typer.Exit


@cli.callback()
def _begin(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_release, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@cli.command()
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = None,
    processes: Processes = 1,
) -> None:
    """Run the whole service on this machine: API and local worker on SQLite."""
    with frozen_imports():
        from sqlalchemy.exc import DBAPIError

        from app.cli import serve as embedded
        from app.http import bind
        from store.errors import NewerDatabase
        from store.operations.lifetime import AlreadyRunning
        from store.operations.logs import configure_logging

    settings = settings_of(data_dir=data_dir)
    configure_logging()
    try:
        bind.check_bind(host, settings)
        embedded.serve(settings, host=host, port=port, num_processes=processes)
    except (bind.UnsafeBind, AlreadyRunning, NewerDatabase, embedded.NotReady, OSError) as error:
        fail(str(error))
    except DBAPIError as error:
        fail(f"the database failed: {error.orig}")


@cli.command()
def api(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    probe_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run the API alone; workers run elsewhere."""
    with frozen_imports():
        from app.http import bind
        from store.errors import NewerDatabase
        from store.operations.logs import configure_logging

    settings = settings_of(data_dir=data_dir)
    configure_logging()
    try:
        if fd is None:  # before the other imports, which take two seconds
            bind.check_bind(host, settings)
    except (bind.UnsafeBind, NewerDatabase) as error:
        fail(str(error))
    with frozen_imports():
        import uvicorn
        from sqlalchemy.exc import DBAPIError

        from app.http.protocol import BoundedHttp, raise_descriptor_limit
        from app.http.server import Server
        from app.main import create_app
        from dropout_core.data.ingest import warm_up
        from store.database.engine import Database
        from store.operations.lifetime import on_parent_exit
        from store.operations.tracing import configure_tracing

    configure_tracing("api")
    try:
        if fd is None:
            with closing(Database(settings.database)) as database:
                database.migrate()  # here, where a failure is one line
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=BoundedHttp,
            log_config=None,  # its lines go to the service's own log
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=settings.trusted_proxies is not None,
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=5,
        )
        server = Server(config, end_streams=app.state.context.watched_events.close)
        listener = bind.listen(host, port) if fd is None else socket.socket(fileno=fd)
        probed = [] if probe_fd is None else [socket.socket(fileno=probe_fd)]
    except (NewerDatabase, OSError) as error:
        fail(str(error))
    except DBAPIError as error:
        fail(f"the database failed: {error.orig}")
    if with_parent:
        on_parent_exit(lambda: setattr(server, "should_exit", True))
    # A thread that computes yields to waiting requests after 1 ms instead of Python's 5 ms.
    sys.setswitchinterval(0.001)
    raise_descriptor_limit()
    # So that the first upload does not wait for the imports of its reader.
    threading.Thread(target=warm_up, daemon=True).start()
    if fd is None:
        say(f"Dropout Service {RELEASE} listens at {bind.address_of(listener, host)}")
    server.run(sockets=[listener, *probed])


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
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write: a .tar or .tar.gz.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Copy all data of the service on this machine into one file, while it runs."""
    from store.artifacts.artifact_store import open_artifacts
    from store.operations import backup as to_file

    settings = settings_of(data_dir=data_dir)
    try:
        with _ending_in_order():
            made = to_file.backup(settings, open_artifacts(settings), file)
    except (to_file.CannotBackUp, OSError) as error:
        fail(str(error))
    _warn_of_lost(made.lost)
    say(
        f"{file} holds {made.num_datasets} datasets, {made.num_models} models and "
        f"{made.num_unfinished_jobs} unfinished jobs: {made.size_bytes} bytes"
    )
    _fail_for_damaged(made.damaged, "it is not in the backup")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `backup`.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Fill a new data directory from a backup; jobs that ran at that time resume."""
    from store.operations import restore as from_file
    from store.operations.lifetime import AlreadyRunning

    settings = settings_of(data_dir=data_dir)
    try:
        with _ending_in_order():
            restored = from_file.restore(settings, file)
    except (from_file.CannotRestore, AlreadyRunning, OSError) as error:
        fail(str(error))
    _warn_of_lost(restored.lost)
    say(
        f"{settings.data_dir} is as it was at {restored.created_at}: {restored.num_artifacts} "
        f"artifacts, {restored.num_resumed} jobs that ran go on"
    )
    _fail_for_damaged(restored.damaged, "the service refuses to read it")


@cli.command()
def demo() -> None:
    """Train two models that differ in dropout, over HTTP, and compare them."""
    from app.cli import demo as show

    try:
        show.run()
    except show.DemoFailed as error:
        fail(str(error))


def _become(role: str, *arguments: str, data_dir: Path | None) -> NoReturn:
    """Replace this process by one of the worker's, which this package may not import."""
    environment = os.environ | settings_of(data_dir=data_dir).as_environment()
    command = [sys.executable, "-m", "worker", role, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Make SIGTERM undo unfinished work, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda *_: fail("ended before it was done"))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _warn_of_lost(keys: list[str]) -> None:
    for key in keys:
        warn(f"the artifact {key} was lost before")


def _fail_for_damaged(keys: list[str], consequence: str) -> None:
    """Exit 1 if an artifact is damaged: the command did the rest of its work."""
    for key in keys:
        warn(f"the artifact {key} does not match its checksum: {consequence}")
    if keys:
        fail(f"{len(keys)} damaged: the disk may be failing")
