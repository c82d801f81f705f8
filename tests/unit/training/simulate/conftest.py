"""One phantom for all tests of the simulator: drawing it is the slow part."""

import pytest

from training.simulate.anatomy import Anatomy, draw_anatomy


@pytest.fixture(scope="session")
def phantom() -> Anatomy:
    """A person at 256 px."""
    return draw_anatomy(11, 256)
