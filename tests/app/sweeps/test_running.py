"""Sweeps that run, from their submission to the model of their winner."""

from typing import Any

import httpx

from tests.support.client import events, finished, submit

DROPOUT = "/model/hidden_dropout"
JOB = {"model": {"hidden": [8]}, "training": {"epochs": 4, "batch_size": 16}}
SEARCH = {
    "space": {DROPOUT: {"choice": [0.0, 0.1, 0.2, 0.3]}},
    "sampler": "grid",
    "pruner": {"name": "successive_halving", "reduction": 2},
}


def test_a_sweep_ends_with_the_model_of_its_winner(
    live: httpx.Client, flowers: dict[str, Any]
) -> None:
    job = {"dataset": {"id": flowers["id"], "target": "label"}, **JOB}
    body = {"name": "search", "job": job, **SEARCH}
    sweep_id = live.post("/v1/sweeps", json=body).json()["id"]
    told = [event["event"] for event in events(live, sweep_id, kind="sweeps")]
    assert told == ["running", "trials", "rung", "rung", "rung", "winner", "succeeded"]
    sweep = live.get(f"/v1/sweeps/{sweep_id}").json()
    assert (sweep["state"], sweep["state_reason"]) == ("succeeded", "completed")
    assert sweep["progress"]["trials"] == {"succeeded": 1, "pruned": 3}
    assert sweep["progress"]["epochs_completed"] == sweep["progress"]["epochs"]
    winner = sweep["winner"]
    assert (winner["model"], winner["trained"]) == (sweep["model"], "stacked")
    assert live.get(f"/v1/models/{sweep['model']}").json()["name"] == "search"
    trained = live.get(f"/v1/jobs/{winner['jobs'][0]['id']}").json()
    assert (
        trained["resolved_config"]["model"]["hidden_dropout"][0]["p"] == winner["values"][DROPOUT]
    )
    [best, *_] = live.get(f"/v1/sweeps/{sweep_id}/trials").json()["data"]
    assert best == winner
    assert live.delete(f"/v1/sweeps/{sweep_id}").status_code == 204
    assert live.get(f"/v1/models/{sweep['model']}").status_code == 200


def test_a_job_that_is_tuned_has_the_model_of_the_winner(
    live: httpx.Client, flowers: dict[str, Any]
) -> None:
    job = submit(live, flowers["id"], "label", name="tuned", tune=SEARCH, **JOB)
    assert (job["state"], job["progress"]["step"]) == ("running", "tuning")
    job = finished(live, job["id"])
    assert (job["state"], job["state_reason"]) == ("succeeded", "completed")
    sweep = live.get(f"/v1/sweeps/{job['sweep']}").json()
    assert (job["model"], sweep["name"]) == (sweep["model"], "tuned")
    assert job["model"] is not None
    assert job["progress"]["epochs_completed"] == 4
    history = live.get(f"/v1/jobs/{job['id']}/metrics").json()
    assert history["epoch"] == [1, 2, 3, 4]
    [listed] = [
        each
        for each in live.get("/v1/jobs", params={"sweep": job["sweep"]}).json()["data"]
        if each["trial"] is None
    ]
    assert listed == job
