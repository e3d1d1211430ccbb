"""What predictor, rollout and monitoring share: the inference log, latency histograms, the endpoint's client."""
