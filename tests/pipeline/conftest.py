"""The story of a small company, on each database."""

from __future__ import annotations

import pytest

from nurture.store.database import Database
from tests.pipeline.lifecycle_story import Story


@pytest.fixture
def story(database: Database) -> Story:
    return Story(database=database)
