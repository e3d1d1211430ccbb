"""Pipelines on this machine: run folders, progress, the run's process, the demo."""
