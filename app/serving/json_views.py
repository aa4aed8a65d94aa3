"""JSON as simdjson's views, which make a Python object of a value only when it is asked for.

What simdjson cannot read comes from another parser, as Python's own types: these functions take
both.
"""

from typing import Any

import simdjson

_SMALL_BYTES = 10_000


class NotSmall(ValueError):
    """A value that should be small is not."""


def is_object(value: Any) -> bool:
    return isinstance(value, dict | simdjson.Object)


def is_array(value: Any) -> bool:
    return isinstance(value, list | simdjson.Array)


def plain(value: Any) -> Any:
    """Return a view as Python's own type, with all that is in it."""
    match value:
        case simdjson.Object():
            return value.as_dict()
        case simdjson.Array():
            return value.as_list()
    return value


def plain_if_small(value: Any) -> Any:
    """Return what `plain` does. Raises NotSmall before it makes objects of a long text."""
    if isinstance(value, simdjson.Object | simdjson.Array):
        size_bytes = len(value.mini)
        if size_bytes > _SMALL_BYTES:
            raise NotSmall(f"{size_bytes} bytes are too many here; the limit is {_SMALL_BYTES}")
    return plain(value)
