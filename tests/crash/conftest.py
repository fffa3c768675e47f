"""Shows the logs of the servers that a failing test runs, as the end-to-end tests do."""

from tests.e2e.conftest import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]
