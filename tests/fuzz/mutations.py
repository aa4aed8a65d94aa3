"""Valid files, damaged: what a parser meets that is nearly, or not at all, what it should be."""

import struct

from hypothesis import strategies as st

EXTREMES = [
    *(b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f"),
    *(struct.pack("<I", 2**31), struct.pack(">I", 2**31), b"\x80\x80\x80\x80\x08", b"\n\n", b'"'),
]


@st.composite
def mutated(draw: st.DrawFn, valid: list[bytes], *, max_steps: int = 3) -> bytes:
    """One of the valid files after a few steps of damage."""
    content = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, max_steps))):
        content = draw(st.sampled_from(STEPS))(draw, content, valid)
    return content


def _place(draw: st.DrawFn, content: bytes) -> int:
    # Headers and footers are where files say what they are.
    ends = st.integers(0, 64) | st.integers(-64, 0).map(lambda place: len(content) + place)
    place: int = draw(ends | st.integers(0, len(content)))
    return min(max(place, 0), len(content))


def _truncate(draw: st.DrawFn, content: bytes, _: list[bytes]) -> bytes:
    return content[: _place(draw, content)]


def _flip(draw: st.DrawFn, content: bytes, _: list[bytes]) -> bytes:
    changed = bytearray(content)
    for place in [_place(draw, content) for _step in range(draw(st.integers(1, 3)))]:
        if place < len(changed):
            changed[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def _overwrite(draw: st.DrawFn, content: bytes, _: list[bytes]) -> bytes:
    extreme, place = draw(st.sampled_from(EXTREMES)), _place(draw, content)
    return content[:place] + extreme + content[place + len(extreme) :]


def _insert(draw: st.DrawFn, content: bytes, _: list[bytes]) -> bytes:
    place = _place(draw, content)
    return content[:place] + draw(st.binary(max_size=12)) + content[place:]


def _splice(draw: st.DrawFn, content: bytes, valid: list[bytes]) -> bytes:
    other = draw(st.sampled_from(valid))
    return content[: _place(draw, content)] + other[_place(draw, other) :]


def _repeat(draw: st.DrawFn, content: bytes, _: list[bytes]) -> bytes:
    start, end = sorted((_place(draw, content), _place(draw, content)))
    piece = content[start:end]
    return content[:end] + piece * min(draw(st.integers(1, 40)), 1 + 20_000 // (len(piece) + 1))


def _replace(draw: st.DrawFn, content: bytes, _: list[bytes]) -> bytes:
    """The same start, and anything behind it."""
    return content[: draw(st.integers(1, 16))] + draw(st.binary(max_size=200))


STEPS = [_truncate, *[_flip] * 5, *[_overwrite] * 2, _insert, _splice, _repeat, _replace]
