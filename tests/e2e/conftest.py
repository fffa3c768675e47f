"""Shows the logs of the programs that a failing test runs."""

from collections.abc import Generator

import pytest

from tests.e2e.processes import RUNNING


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in RUNNING:
            report.sections.append((f"{server.name}'s log", server.log_tail()))
    return report
