"""Export a model's two files as a zip, for users of this library."""

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
        packed = Path(temporary) / "packed"
        with zipfile.ZipFile(packed, "x") as archive:
            archive.writestr(_entry("README.md"), README)
            for name in (MANIFEST, WEIGHTS):
                archive.writestr(_entry(name), (folder / name).read_bytes())
        with zipfile.ZipFile(packed) as archive:
            for name in (MANIFEST, WEIGHTS):
                archive.extract(name, temporary)
        loaded = Predictor.load(Path(temporary))
        check.require_same_bits(loaded.outputs(check.examples.matrix))
        packed.replace(target)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry
