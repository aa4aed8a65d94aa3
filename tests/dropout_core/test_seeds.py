import torch

from dropout_core.seeds import derive_seed, generator


def test_every_stream_of_every_seed_has_a_seed_of_its_own() -> None:
    paths = [(seed, *path) for seed in range(50) for path in (("a",), ("b",), ("a", 1), ("a", "1"))]
    seeds = {derive_seed(*path) for path in paths}
    assert len(seeds) == len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_derived_seed_is_the_same_in_every_process_and_version() -> None:
    assert derive_seed(3, "order", 1) == 8_763_829_436_781_372_624


def test_a_generator_starts_its_stream_anew() -> None:
    first, second = (torch.rand(5, generator=generator(1, "order", 2)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(5, generator=generator(1, "order", 3)))
