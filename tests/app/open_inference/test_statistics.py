import time

import pytest

from app.serving import statistics
from app.serving.statistics import Statistics


def test_requests_are_counted_with_their_parts() -> None:
    counted = Statistics()
    assert "mdl_a" not in counted
    assert counted.of("mdl_a").success.count == 0
    counted.succeeded("mdl_a", num_rows=3, read_ns=10, compute_ns=20, write_ns=5)
    counted.succeeded("mdl_a", num_rows=1, read_ns=1, compute_ns=1, write_ns=1)
    counted.failed("mdl_a", ns=7)
    totals = counted.of("mdl_a")
    assert "mdl_a" in counted
    assert totals.num_rows == 4
    assert (totals.success.count, totals.success.ns) == (2, 38)
    assert (totals.fail.count, totals.fail.ns) == (1, 7)
    assert (totals.read.ns, totals.compute.ns, totals.write.ns) == (11, 21, 6)
    assert 0 < totals.last_at <= time.time()


def test_the_model_that_was_asked_the_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "_MAX_MODELS", 2)
    counted = Statistics()
    for model in ("a", "b", "a", "c"):
        counted.failed(model, ns=1)
    assert [model in counted for model in "abc"] == [True, False, True]
