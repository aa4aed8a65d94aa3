"""Exported models: an archive of this library, an ONNX file, or a torch program.

`process.export` writes the file in a process of its own, `python -m dropout_core.export`. A file is
kept only if it answers example rows as the service does: see `check.py`.
"""
