"""Stage: start the predictor on the bundle and check golden answers, latency and memory."""
