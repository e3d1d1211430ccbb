"""The KServe predictor: one bundle in, ranked and explained answers out."""
