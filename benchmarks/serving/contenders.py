"""The servers that take part, and their protocols."""

from pathlib import Path

from benchmarks.serving.protocols import Protocol, instances, v2_binary, v2_json
from benchmarks.serving.servers import peers, service
from benchmarks.serving.throughput import Contender, Load

MANY_ROWS = 64


def ours(data_dir: Path, model: str) -> Contender:
    """Return this project's service with all its protocols."""
    v2 = f"/v2/models/{model}/infer"
    both = {"JSON": instances(f"/v1/models/{model}/predict"), "V2 JSON": v2_json(v2, "FP64")}
    binary = {f"V2 binary {kind}": v2_binary(v2, kind) for kind in ("FP32", "FP64")}
    loads = [
        *(Load(f"ours, {name}", protocol, 1) for name, protocol in both.items()),
        *(Load(f"ours, {name}", protocol, MANY_ROWS) for name, protocol in both.items()),
        *(Load(f"ours, {name}", protocol, MANY_ROWS) for name, protocol in binary.items()),
    ]
    return Contender(service(data_dir), loads)


def others(environments: Path, weights: Path) -> list[Contender]:
    """Return the peers. All take the same JSON, except MLServer, which has the V2 protocol."""
    protocols: dict[str, Protocol] = {"MLServer": v2_json("/v2/models/network/infer", "FP32")}
    plain = instances("/predict")
    return [
        Contender(
            server,
            [
                Load(server.name, protocols.get(server.name, plain), num_rows)
                for num_rows in (1, MANY_ROWS)
            ],
        )
        for server in peers(environments, weights)
    ]
