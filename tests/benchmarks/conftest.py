"""The outputs of the training stages, for the tests of the benchmarks."""

from components.conftest import quick_starts, real_processes, tiny_run  # noqa: F401
