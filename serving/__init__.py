"""The KServe predictor: serves one bundle and answers with ranked, explained items."""

from components.shared.cgroup import limit_threads

# Set before kserve imports numpy, which reads it once.
limit_threads()
