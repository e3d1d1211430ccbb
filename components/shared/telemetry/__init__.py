"""Inference log, latency buckets and predictor client, shared by predictor, rollout and monitoring."""
