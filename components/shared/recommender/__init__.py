"""Retrieval, ranking and model runtimes, shared by evaluation and the predictor."""
