"""The only kubernetes import: API client, InferenceService, TrainJob, traffic."""
