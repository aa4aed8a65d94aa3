import pytest

from tests.support.client import Client
from tests.support.scaled_out import ScaledOut
from tests.support.service import Service

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start


def test_both_shapes_of_the_service_give_the_same_bits(
    embedded_service: Service, scaled_out: ScaledOut
) -> None:
    apart = scaled_out.client
    with Client(embedded_service.address) as alone:
        assert alone.result(alone.submit()) == apart.result(apart.submit())
