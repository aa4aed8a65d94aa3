"""The model's own two files in a zip, for who has this library."""

import tempfile
import zipfile
from pathlib import Path

from dropout_core.export.check import Check
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import MANIFEST, WEIGHTS

README = """\
# A model of Dropout Service

`model.json` says what the model is, and vouches for `model.safetensors`, its tensors. Unpack both
into a folder. The Python package dropout-service loads and runs them, without a server:

    from pathlib import Path
    from dropout_core.model.predictor import Predictor

    predictor = Predictor.load(Path("folder"))
    rows = predictor.frame_of([{"a feature": 1.5, "another": "red"}])
    print(predictor.predict(rows).values)

On the kind of machine that `predictor.fingerprint` names, answers have the bits of the service's.
"""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip knows: the same model is the same bytes


def write_archive(folder: Path, target: Path, *, check: Check) -> None:
    """Pack the model that `folder` holds, uncompressed.

    Raises ModelError if what was packed does not load, or has other bits.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as aside:
        packed = Path(aside) / "packed"
        with zipfile.ZipFile(packed, "x") as archive:
            archive.writestr(_entry("README.md"), README)
            for name in (MANIFEST, WEIGHTS):
                archive.writestr(_entry(name), (folder / name).read_bytes())
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(aside, (MANIFEST, WEIGHTS))
        loaded = Predictor.load(Path(aside))
        check.require_same_bits(loaded.outputs(check.examples.matrix))
        packed.replace(target)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry
