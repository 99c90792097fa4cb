import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from conftest import cleanup, gateway  # noqa: E402,F401
