"""Samples of `/metrics` and of a worker's metrics port."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """Return samples by name and labels. Raises AssertionError if one is there twice."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(samples) == len(found)
    return samples


def scrape(client: httpx.Client) -> Samples:
    return samples_of(client.get("/metrics").raise_for_status().text)


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return a sample, or 0 if it is not there because nothing was counted yet."""
    return samples.get((name, frozenset(labels.items())), 0)


def labels_of(samples: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for sample, labels in samples if sample == name]
