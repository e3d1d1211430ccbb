"""KFP components of shoprank: one folder per stage, plus `shared`."""

from components.shared.cgroup import limit_threads

# Set before numpy or torch are loaded, which read it once.
limit_threads()
