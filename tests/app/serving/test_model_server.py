"""Which model a reference stands for, and how long that is believed."""

import asyncio
import threading

import pytest

from app.serving import instances, model_server
from app.serving.model_server import ModelServer
from store import models
from store.access.keys import DEFAULT_TENANT
from store.errors import ModelUnloaded
from store.models import Model
from tests.support.in_process import TestClient, context_of
from tests.support.named_models import new_version, unload
from tests.support.problems import assert_problem


class Delayed(ModelServer):
    """Looks a reference up, and is told when it may say what it found."""

    def __init__(self, client: TestClient) -> None:
        context = context_of(client)
        super().__init__(context.database, context.predictors)
        self.found, self.may_tell = threading.Event(), threading.Event()
        self.num_looks = 0

    def _look_up(self, reference: str, tenant: str) -> Model:
        model = super()._look_up(reference, tenant)
        self.num_looks += 1
        self.found.set()
        assert self.may_tell.wait(30)
        return model


async def in_a_thread(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 30)


def test_a_look_that_began_before_a_change_is_not_believed_after_it(
    sqlite_client: TestClient,
) -> None:
    new_version(sqlite_client)

    async def ask() -> None:
        delayed = Delayed(sqlite_client)
        early = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
        await in_a_thread(delayed.found)
        unload(sqlite_client, "flowers")
        delayed.forget_names(DEFAULT_TENANT)
        late = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
        delayed.may_tell.set()
        assert (await early).model.served
        for _ in range(2):
            with pytest.raises(ModelUnloaded):
                await late
            late = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
        with pytest.raises(ModelUnloaded):
            await late

    asyncio.run(ask())


@pytest.mark.parametrize("tenant", [DEFAULT_TENANT, "another"])
def test_a_change_at_any_moment_fails_no_look(sqlite_client: TestClient, tenant: str) -> None:
    model = new_version(sqlite_client)

    async def ask() -> None:
        delayed = Delayed(sqlite_client)
        delayed.may_tell.set()
        for num_steps in range(6):
            finding = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
            for _ in range(num_steps):
                await asyncio.sleep(0)
            delayed.forget_names(tenant)
            again = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
            assert {found.model.id for found in await asyncio.gather(finding, again)} == {model.id}
            delayed.forget_names(DEFAULT_TENANT)
        assert not delayed._looking

    asyncio.run(ask())


def test_a_change_of_another_tenant_makes_nobody_look_again(sqlite_client: TestClient) -> None:
    new_version(sqlite_client)

    async def ask() -> None:
        delayed = Delayed(sqlite_client)
        finding = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
        await in_a_thread(delayed.found)
        delayed.forget_names("another")
        again = asyncio.ensure_future(delayed.find("flowers", tenant=DEFAULT_TENANT))
        delayed.may_tell.set()
        await asyncio.gather(finding, again)
        await delayed.find("flowers", tenant=DEFAULT_TENANT)
        assert delayed.num_looks == 1

    asyncio.run(ask())


def test_requests_that_come_together_look_once(sqlite_client: TestClient) -> None:
    new_version(sqlite_client)

    async def ask() -> None:
        delayed = Delayed(sqlite_client)
        finds = [delayed.find("flowers", tenant=DEFAULT_TENANT) for _ in range(9)]
        asked = asyncio.gather(*finds)
        await in_a_thread(delayed.found)
        delayed.may_tell.set()
        assert len({served.model.id for served in await asked}) == 1
        assert delayed.num_looks == 1

    asyncio.run(ask())


def test_what_another_process_changes_is_seen_once_a_second_is_over(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_version(sqlite_client)
    monkeypatch.setattr(model_server, "REMEMBERED_SECONDS", 0.0)

    async def ask() -> None:
        own = ModelServer(context_of(sqlite_client).database, context_of(sqlite_client).predictors)
        await own.find("flowers", tenant=DEFAULT_TENANT)
        unload(sqlite_client, "flowers")
        answers = await asyncio.gather(
            *(own.find("flowers", tenant=DEFAULT_TENANT) for _ in range(20)),
            return_exceptions=True,
        )
        assert {type(answer) for answer in answers} == {ModelUnloaded}

    asyncio.run(ask())


def test_a_model_that_was_forgotten_is_not_held_by_its_name(sqlite_client: TestClient) -> None:
    made = [new_version(sqlite_client) for _ in range(3)]
    predictors = context_of(sqlite_client).predictors
    predictors._max_bytes = 1  # room for the last one alone

    async def ask() -> None:
        own = ModelServer(context_of(sqlite_client).database, predictors)
        for model in made:
            await own.find(model.id, tenant=DEFAULT_TENANT)

    asyncio.run(ask())
    assert [predictors.loaded(model.id) is not None for model in made] == [False, False, True]


def test_a_model_out_of_service_answers_no_way_at_all(sqlite_client: TestClient) -> None:
    model = new_version(sqlite_client)
    path = f"/v1/models/{model.id}"
    ask = {
        "predict": {"json": {"instances": [[1, 2, 3, 4, 5]]}},
        "predict-file": {"files": {"file": b"a\n1\n"}},
        "evaluate": {"json": {"dataset": "ds_0"}},
        "importance": {"json": {}},
    }
    unload(sqlite_client, "flowers")
    for way, request in ask.items():
        answer = sqlite_client.post(f"{path}/{way}", **request)
        assert_problem(answer, 409, "model_unloaded")
    with context_of(sqlite_client).database.write() as transaction:
        models.set_served(transaction, model.id, True, tenant=DEFAULT_TENANT)
    context_of(sqlite_client).model_server.forget_names(DEFAULT_TENANT)
    assert sqlite_client.post(f"{path}/predict", **ask["predict"]).status_code == 200


def test_an_answer_has_a_size(sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_version(sqlite_client)
    monkeypatch.setattr(model_server, "MAX_OUTPUTS", 5)
    rows = [[1, 2, 3, 4, 5]] * 2
    names = [dict(zip(["feature 0"], row, strict=False)) for row in rows]
    for asked in (rows, [["1", "2", "3", "4", "5"]] * 2, names):
        answer = sqlite_client.post(f"/v1/models/{model.id}/predict", json={"instances": asked})
        assert_problem(answer, 413, "answer_too_large")
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 5], "data": rows}
    answer = sqlite_client.post(f"/v2/models/{model.id}/infer", json={"inputs": [tensor]})
    assert (answer.status_code, answer.json()["code"]) == (413, "answer_too_large")


def test_a_request_has_so_many_rows_and_no_more(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/models/{new_version(sqlite_client).id}/predict"
    monkeypatch.setattr(instances, "MAX_ROWS", 2)
    for cell in (1, "1"):
        rows = [[cell] * 5] * 3
        assert sqlite_client.post(path, json={"instances": rows[:2]}).status_code == 200
        answer = sqlite_client.post(path, json={"instances": rows})
        assert "2 rows" in assert_problem(answer, 413, "too_many_rows")
