"""Tables to train on."""

import datetime as dt
import io
import math
import random
import struct

import numpy as np

KINDS = {"setosa": (1.5, 0.25), "versicolor": (4.3, 1.3), "virginica": (5.6, 2.0)}


def flowers(num_rows: int = 90, *, kinds: int = 3, seed: int = 0) -> bytes:
    """Return a CSV of two lengths and, as `label`, the kind of flower."""
    chance = random.Random(seed)
    lines = ["petal_length,petal_width,label"]
    for row in range(num_rows):
        kind, (length, width) = list(KINDS.items())[row % kinds]
        lines.append(f"{chance.gauss(length, 0.3):.3f},{chance.gauss(width, 0.1):.3f},{kind}")
    return "\n".join(lines).encode()


def waves(num_rows: int = 80) -> bytes:
    """Return a CSV of one feature and, as `y`, a smooth function of it."""
    lines = ["x,y"]
    lines += [f"{x / 10},{math.sin(x / 10) * 3 + 10}" for x in range(num_rows)]
    return "\n".join(lines).encode()


def people(num_rows: int = 200, *, seed: int = 0) -> bytes:
    """Return a CSV with a column of every type; `leaves` follows from `city` and `age`."""
    chance = random.Random(seed)
    lines = ["id,city,age,since,member,note,leaves"]
    for row in range(num_rows):
        city, age = chance.choice(["Bonn", "Oslo", "Rome"]), chance.randint(18, 90)
        since = dt.date(2024, 1, 1) + dt.timedelta(days=chance.randrange(300))
        member = chance.choice(["true", "false"])
        leaves = "yes" if (age > 50) != (city == "Oslo") else "no"
        note = f'"they say, that {chance.random()} of it is so"'
        known_age = age if row % 10 else ""
        lines.append(f"p{row},{city},{known_age},{since},{member},{note},{leaves}")
    return "\n".join(lines).encode()


def outcomes(num_rows: int = 60) -> bytes:
    """Return a CSV of two features, and two numbers and two labels that follow from them."""
    chance = random.Random(0)
    lines = ["a,b,sum,gap,pos,big"]
    for _ in range(num_rows):
        a, b = (round(chance.gauss(0, 1), 3) for _ in range(2))
        lines.append(f"{a},{b},{a + b:.3f},{a - b:.3f},{int(a > 0)},{int(abs(b) > 1)}")
    return "\n".join(lines).encode()


def points(num_rows: int = 60) -> bytes:
    """Return an NPZ of a matrix `x` and, as `y`, the index of its larger column."""
    x = np.random.default_rng(0).normal(size=(num_rows, 2)).astype(np.float32)
    return npz(x=x, y=(x[:, 0] > x[:, 1]).astype(np.int64))


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def rows(table: bytes) -> list[list[str]]:
    """Return the cells of a CSV by row, without its header."""
    return [line.split(",") for line in table.decode().splitlines()[1:]]


def npz_compressed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    """Return an array of bytes in IDX, the format of MNIST."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
