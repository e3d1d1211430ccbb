"""KFP components of shoprank: one folder a stage, plus `shared`, the nouns they have in common."""

from components.shared.cgroup import limit_threads

# Before anything loads numpy or torch, which read it once.
limit_threads()
