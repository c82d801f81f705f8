"""One tiny exported network for all tests of the export."""

import pytest

from model.bundle import Bundle
from tests.bundles import tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("export") / "tiny")
