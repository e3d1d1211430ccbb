"""Retrieval, ranking and the models' runtimes as one object: what evaluation and the predictor both run."""
