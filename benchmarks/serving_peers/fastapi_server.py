"""FastAPI with pydantic models, as in its tutorial: python -m ... PORT"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving_peers.network import load, probabilities

app = FastAPI()
network = load()


class Rows(BaseModel):
    instances: list[list[float]]


class Answer(BaseModel):
    probabilities: list[list[float]]


# `def` instead of `async def` would use a thread, which costs more than a network this small.
@app.post("/predict")
async def predict(rows: Rows) -> Answer:
    answer = probabilities(network, torch.tensor(rows.instances))
    return Answer(probabilities=answer.tolist())


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
