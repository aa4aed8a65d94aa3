import re
import shlex
import subprocess
from pathlib import Path

from tests.support.processes import COMMAND, environment


def run(command: list[str], tmp_path: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    settings |= {"threads_per_job": 1}
    # Its folder is under the test's, and its table is as wide as it likes to be.
    variables = environment(**settings) | {"TMPDIR": str(tmp_path), "COLUMNS": "100"}
    return subprocess.run(
        command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=100
    )


def test_the_demo_compares_three_models_and_leaves_nothing(tmp_path: Path) -> None:
    # It has nothing to do with a service that this machine is set up for.
    other = {"database_url": "postgresql://127.0.0.1:1/other"}
    done = run([*COMMAND, "demo"], tmp_path, **other)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("dropout*")) == []
    assert re.search(r"state\W+succeeded\W+succeeded\W+succeeded", done.stdout)
    (accuracies,) = re.findall(r"held-out digits\W+([\d.]+)%\W+([\d.]+)%\W+([\d.]+)%", done.stdout)
    assert all(90 < float(accuracy) <= 100 for accuracy in accuracies)
    (losses,) = re.findall(r"log loss on them\W+([\d.]+)\W+([\d.]+)\W+([\d.]+)", done.stdout)
    assert all(0 < float(loss) < 1 for loss in losses)
    answer = r"\W+(\d) \([\d.]+%\)"
    predictions = re.findall(rf"prediction of a (\d){answer * 3}", done.stdout)
    assert len(predictions) == 5
    assert sum(label == told for label, *answers in predictions for told in answers) >= 12


def test_a_demo_that_cannot_work_says_why_in_one_line(tmp_path: Path) -> None:
    # On a disk that takes no more than a kilobyte of a file.
    done = run(["bash", "-c", f"ulimit -f 1; exec {shlex.join(COMMAND)} demo"], tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert list(tmp_path.glob("dropout*")) == []
