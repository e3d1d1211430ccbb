"""Stage: search for a model's best hyper-parameters, in one process or by many workers that share a study."""
