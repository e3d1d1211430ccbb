"""Stage: the real predictor is started on the bundle and must answer as the trained model did, fast and small."""
