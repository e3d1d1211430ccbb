"""Kubeflow pipelines composed of the stages, their resources and caching, and the `shoprank` command."""
