"""What every test may ask for: the shared test data, and how hard hypothesis tries."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).parent.parent

# In CI the same examples run every time, so that a red run means a change and not luck. A
# deadline would measure how busy the machine is. By hand, each run looks at new examples.
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2_000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"),
)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The data that the project's repositories share: conformance suites, logs, dashboards."""
    directory = Path(os.environ.get("OBSD_SHARED", REPOSITORY.parent / "shared")).resolve()
    if not (directory / "conformance").is_dir():
        pytest.fail(
            f"no shared test data in {directory}: put it beside the checkout as ../shared, "
            "or name its directory in OBSD_SHARED",
        )
    return directory
