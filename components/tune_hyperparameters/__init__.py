"""Stage: search for a model's best hyperparameters, in one process or by many workers that share a study."""
