import pytest

from tests.integration.services import Embedded, ScaledOut

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start


def test_both_shapes_of_the_service_give_the_same_bits(
    embedded_service: Embedded, scaled_out: ScaledOut
) -> None:
    alone, apart = embedded_service.client, scaled_out.client

    assert alone.result(alone.submit()) == apart.result(apart.submit())
