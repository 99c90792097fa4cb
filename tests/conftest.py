import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import rig  # noqa: E402


@pytest.fixture
def cleanup():
    """Register what has a stop(); it is called at the end, newest first."""
    things = []

    def register(thing):
        things.append(thing)
        return thing

    yield register
    for thing in reversed(things):
        thing.stop()


@pytest.fixture
def gateway(tmp_path, cleanup):
    return cleanup(rig.Gateway(tmp_path / "gw"))
