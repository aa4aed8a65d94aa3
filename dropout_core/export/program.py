"""Export a model as a program that torch runs without this library (torch.export)."""

import io
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from dropout_core.export.check import Check
from dropout_core.model.saved_model import MANIFEST, Manifest


def write_program(manifest: Manifest, target: Path, *, check: Check) -> None:
    """Write the check's `WholeModel`, for any number of rows, with the manifest as an extra file.

    Raises ModelError if the program, loaded again, does not answer as the service does.
    """
    examples = check.examples.matrix
    rows = ({0: Dim("N")},)
    program = torch.export.export(check.whole, (examples,), dynamic_shapes=rows)
    _remove_local_data(program)
    content = io.BytesIO()  # torch would write a file's name into the content
    description = manifest.model_dump_json(indent=2)
    torch.export.save(program, content, extra_files={MANIFEST: description})
    content.seek(0)
    loaded = torch.export.load(content).module()
    with torch.inference_mode():
        check.require_same(loaded(examples))
        check.require_same(torch.cat([loaded(examples[:1]), loaded(examples[1:])]))
    target.write_bytes(content.getvalue())


def _remove_local_data(program: ExportedProgram) -> None:
    """Remove the example rows, which would be pickled, and the paths of this machine's sources."""
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
