"""Structured logs on standard error: for people on a terminal, JSON lines elsewhere.

Whatever logs, warns or dies of an exception comes out in the same shape, with what is bound to its
context: `request_id` in the API, `job` and `attempt` in workers and trainers. Passwords in URLs and
credentials in headers are blotted out of every line, since errors quote what they failed with.
"""

import logging
import re
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET = re.compile(
    r"""(?P<before>
        \bdsk_[0-9a-z]{26}_                 # an API key, of which the id may be seen
      | ://[^\s:/@"']*:(?=[^\s"']*@)        # a URL's password, up to its last @
      | \b(?:bearer|basic)\s+
      | \bpassword["']?\s*[=:]\s*["']?
    )
    (?:(?<=:)[^\s"']+(?=@)|[^\s"'&,;@]+)""",
    re.IGNORECASE | re.VERBOSE,
)

log = structlog.get_logger()


def configure_logging() -> None:
    """Set up structlog and all that logs through the standard library, once in each process."""
    for_people = sys.stderr.isatty()
    shape: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: list[Processor] = [
        _be_discreet,
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*shape, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Writer(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_the_standard_library(shape, render)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


class _Writer(structlog.WriteLogger):
    """Who logs goes on with their work where a line cannot be written, such as to a full disk.

    A line and its end are one write: several processes share the file that they go to.
    """

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def without_secrets(text: str) -> str:
    """The text, with `***` for every password of a URL and every credential of a header."""
    return _SECRET.sub(r"\g<before>***", text)


def _be_discreet(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {name: _discreet(value) for name, value in event.items()}


def _discreet(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {name: _discreet(part) for name, part in value.items()}
        case list() | tuple():
            return [_discreet(part) for part in value]
    return without_secrets(value if isinstance(value, str) else repr(value))


def _adopt_the_standard_library(shape: list[Processor], render: list[Processor]) -> None:
    """Warnings and errors of the libraries, in the shape of ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shape],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, Exception):
        log.critical("uncaught exception", exc_info=(kind, error, traceback))
    else:  # such as Ctrl-C
        sys.__excepthook__(kind, error, traceback)


def _uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if isinstance(caught.exc_value, Exception):
        thread = caught.thread.name if caught.thread else None
        log.critical("uncaught exception", thread=thread, exc_info=caught.exc_value)
