"""Kubernetes: API client, InferenceService, TrainJob, traffic split. The only package that imports kubernetes."""
