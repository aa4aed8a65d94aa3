"""Export a model's two files as a zip, for users of this library."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from dropout_core.export.check import Check
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import MANIFEST, WEIGHTS

README = """\
# A model of Dropout Service

`model.json` describes the model and holds the checksum of `model.safetensors`, its tensors. Unpack
both into a folder. The Python package dropout-service loads and runs them, without a server:

    from pathlib import Path
    from dropout_core.model.predictor import Predictor

    predictor = Predictor.load(Path("folder"))
    rows = predictor.frame_of([{"a feature": 1.5, "another": "red"}])
    print(predictor.predict(rows).values)

On a machine with the same `predictor.fingerprint`, answers have the same bits as the service's.
"""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's first date: the same model gives the same bytes


def write_archive(folder: Path, target: Path, *, check: Check) -> None:
    """Pack the model that `folder` holds, uncompressed.

    Raises ModelError if the packed model does not load, or gives other bits.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        unpacked, packed = Path(temporary), Path(temporary) / "packed"
        _pack(folder, packed)
        _unpack(packed, unpacked)
        loaded = Predictor.load(unpacked)
        check.require_same_bits(loaded.outputs(check.examples.matrix))
        packed.replace(target)


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "x") as archive:
        archive.writestr(_entry("README.md"), README)
        for name in (MANIFEST, WEIGHTS):
            entry = _entry(name)
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as file, archive.open(entry, "w") as packed:
                shutil.copyfileobj(file, packed)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry


def _unpack(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        for name in (MANIFEST, WEIGHTS):
            with archive.open(name) as packed, (folder / name).open("wb") as file:
                shutil.copyfileobj(packed, file)
