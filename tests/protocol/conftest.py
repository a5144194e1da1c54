from __future__ import annotations

import pytest

from tests.guarantees.examples_kit import Examples


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return Examples(tmp_path_factory.mktemp("traced"))
