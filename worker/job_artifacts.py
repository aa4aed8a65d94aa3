"""The artifacts of one job as its trainer writes them, and reads those of earlier attempts."""

import json
import tempfile
from pathlib import Path
from typing import Any

from dropout_core.training.checkpoint import (
    CheckpointError,
    checkpoint_file,
    load_checkpoint,
    position,
)
from dropout_core.training.state import TrainingState
from store.errors import ArtifactDamaged
from worker.messages import Assignment, job_prefix

CHECKPOINTS = "checkpoints"  # the folder of the model's own checkpoints
REFIT = "refit"  # the folder of the checkpoints of its refit
FOLDS = "folds"  # the folder of the folds' scores
KEPT_CHECKPOINTS = 2  # if the newest is damaged, the one before is used


class JobArtifacts:
    """Checkpoints and scores in folders of the job. An attempt writes only under its own prefix."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._store = assignment.artifacts

    def newest_checkpoint(self, folder: str) -> TrainingState | None:
        """Return the newest undamaged one that any attempt has put into the folder."""
        names = [
            (found, key)
            for key in self._store.list(job_prefix(self._assignment.job_id))
            if Path(key).parent.name == folder and (found := position(Path(key).name))
        ]
        for _, key in sorted(names, reverse=True):
            try:
                return load_checkpoint(self._store.fetch(key), run=self._run_name(folder))
            except (CheckpointError, ArtifactDamaged, FileNotFoundError):
                continue
        return None

    def put_checkpoint(self, folder: str, state: TrainingState) -> None:
        prefix = f"{self._assignment.prefix}/{folder}"
        with self.scratch() as scratch:
            name, content = checkpoint_file(state, run=self._run_name(folder))
            path = Path(scratch) / name
            path.write_bytes(content)  # which is durable once it is put
            self._store.put(f"{prefix}/{name}", path)
        for key in self._store.list(prefix)[:-KEPT_CHECKPOINTS]:
            self._store.delete(key)

    def scores(self, folder: str) -> dict[int, dict[str, Any]]:
        """Return the scores that all attempts have put into the folder, by their number."""
        return {
            int(Path(key).name): json.loads(self._store.fetch(key).read_bytes())
            for key in self._store.list(job_prefix(self._assignment.job_id))
            if Path(key).parent.name == folder
        }

    def put_scores(self, folder: str, number: int, scores: dict[str, Any]) -> None:
        with self.scratch() as scratch:
            path = Path(scratch) / "scores"
            path.write_text(json.dumps(scores))
            self._store.put(f"{self._assignment.prefix}/{folder}/{number}", path)

    def put_file(self, key: str, path: Path) -> None:
        self._store.put(key, path)

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self._assignment.scratch)

    def _run_name(self, folder: str) -> str:
        """Return the name of a run in its checkpoints, so that none is taken for another's."""
        job_id = self._assignment.job_id
        return job_id if folder == CHECKPOINTS else f"{job_id}/{folder}"
