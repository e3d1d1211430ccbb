"""A signed bundle of the tiny shop."""

import pytest

from components.register_model.register import RegisterConfig, register


@pytest.fixture(scope="session")
def registered(tiny_run, tmp_path_factory):
    """(bundle, registry config)."""
    folder = tmp_path_factory.mktemp("registered")
    config = RegisterConfig(registry=folder / "registry", name="shop", signing_key=folder / "key.pem")
    register(tiny_run.compiled, None, folder / "bundle", config)
    return folder / "bundle", config
