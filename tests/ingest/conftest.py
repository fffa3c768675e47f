"""The application under test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.api.running_app import RunningApp, running_app


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        yield running
