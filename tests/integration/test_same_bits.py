import pytest

from tests.support.service import Service

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start


def test_both_shapes_of_the_service_give_the_same_bits(
    embedded_service: Service, scaled_out: Service
) -> None:
    alone, apart = embedded_service.client, scaled_out.client
    assert alone.result(alone.submit()) == apart.result(apart.submit())
