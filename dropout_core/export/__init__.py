"""Models as others can run them: an archive of this library's, ONNX, or a program of torch's.

`process.export` makes such a file in a process of its own; `python -m dropout_core.export` is that
process. No file is left that did not answer example rows as the service does: see `check.py`.
"""
