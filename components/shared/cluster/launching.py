"""Selects the launcher of training workers; only `trainjob` imports the Kubernetes client."""

from components.shared.training.launch import LaunchConfig, Launcher
from components.shared.training.process import Torchrun


def launcher_for(config: LaunchConfig) -> Launcher:
    """Return the launcher for `config.launch`."""
    if config.launch == "process":
        return Torchrun(config)
    from components.shared.cluster.api import connect
    from components.shared.cluster.pods import PodLogs
    from components.shared.cluster.train_launcher import TrainJobLauncher

    cluster = connect()
    return TrainJobLauncher(cluster=cluster, logs=PodLogs(cluster), config=config)
