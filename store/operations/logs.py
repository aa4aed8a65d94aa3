"""Structured logs on standard error: readable text on a terminal, JSON lines elsewhere.

Log calls, warnings and uncaught exceptions have the same format, with the bound context variables:
`request_id` in the API, `job` and `attempt` in workers and trainers. Passwords in URLs and
credentials in headers are masked in every line, because errors quote their inputs.
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
        \bdsk_[0-9a-z]{26}_                 # an API key, whose id stays visible
      | ://[^\s:/@"']*:(?=[^\s"']*@)        # a URL's password, up to its last @
      | \b(?:bearer|basic)\s+
      | \bpassword["']?\s*[=:]\s*["']?
    )
    (?:(?<=:)[^\s"']+(?=@)|[^\s"'&,;@]+)""",
    re.IGNORECASE | re.VERBOSE,
)

log = structlog.get_logger()


def configure_logging() -> None:
    """Set up structlog and the standard library's logging, once in each process."""
    on_terminal = sys.stderr.isatty()
    add_fields: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: list[Processor] = [
        _mask_event,
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*add_fields, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Writer(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _configure_standard_library(add_fields, render)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


class _Writer(structlog.WriteLogger):
    """A logger that ignores write errors, such as a full disk, so that its caller continues.

    Each line is one write, including its end, because several processes share the file.
    """

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def mask_secrets(text: str) -> str:
    """Return the text with `***` for every password of a URL and every credential of a header."""
    return _SECRET.sub(r"\g<before>***", text)


def _mask_event(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {name: _mask(value) for name, value in event.items()}


def _mask(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {name: _mask(part) for name, part in value.items()}
        case list() | tuple():
            return [_mask(part) for part in value]
    return mask_secrets(value if isinstance(value, str) else repr(value))


def _configure_standard_library(add_fields: list[Processor], render: list[Processor]) -> None:
    """Format warnings and errors of libraries as our own log lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *add_fields],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _uncaught(
    error_type: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(error_type, Exception):
        log.critical("uncaught exception", exc_info=(error_type, error, traceback))
    else:  # such as Ctrl-C
        sys.__excepthook__(error_type, error, traceback)


def _uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if isinstance(caught.exc_value, Exception):
        thread = caught.thread.name if caught.thread else None
        log.critical("uncaught exception", thread=thread, exc_info=caught.exc_value)
