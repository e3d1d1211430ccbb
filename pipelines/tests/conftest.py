"""The training road's fixture; see components/conftest.py."""

from components.conftest import tiny_run  # noqa: F401
