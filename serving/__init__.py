"""The KServe predictor: one bundle in, ranked and explained answers out."""

from components.shared.cgroup import limit_threads

# Before kserve loads numpy, which reads it once.
limit_threads()
