"""One handmade bundle and one running predictor per session."""

import pytest

from components.conftest import minilm  # noqa: F401
from components.shared.release.bundle import verify
from components.shared.tests.starts import quick_starts, real_processes  # noqa: F401
from components.validate_serving.predictor import PredictorConfig, running
from serving.engine import Engine
from serving.tests.handmade import write_bundle


@pytest.fixture(scope="session")
def signed(tmp_path_factory):
    """(bundle, public key file); do not change them, copy them."""
    folder = tmp_path_factory.mktemp("handmade")
    bundle = write_bundle(folder / "bundle", folder / "key.pem")
    return bundle, folder / "key.pem.pub"


@pytest.fixture(scope="module")
def engine(signed):
    bundle, _ = signed
    return Engine.open(bundle, verify(bundle, None), 1, "bundle")


@pytest.fixture(scope="session")
def predictor(signed):
    bundle, public_key = signed
    with running(bundle, PredictorConfig(public_key=public_key)) as found:
        yield found
