"""A signed bundle of the tiny shop."""

import pytest

from components.register_model.register import RegisterConfig, register
from components.shared.release.signing import create_key


@pytest.fixture(scope="session")
def registered(tiny_run, tmp_path_factory):
    """(bundle, registry config)."""
    folder = tmp_path_factory.mktemp("registered")
    config = RegisterConfig(registry=folder / "registry", name="shop", signing_key=folder / "key.pem")
    create_key(config.signing_key)
    register(tiny_run.compiled, None, folder / "bundle", config)
    return folder / "bundle", config
