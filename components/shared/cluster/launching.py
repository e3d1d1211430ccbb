"""The launcher that a stage's settings name; apart from the cluster's client, which only `trainjob` imports."""

from components.shared.errors import InputError
from components.shared.training.launch import LaunchConfig, Launcher
from components.shared.training.process import Torchrun


def check_launch(config: LaunchConfig) -> None:
    """Refuse a way to run workers that there is not; asks no cluster.

    Raises:
        InputError: there is none of that name, or a setting does not go with it.
    """
    if config.launch not in ("process", "trainjob"):
        raise InputError(f"launch is '{config.launch}'", "use one of: process, trainjob")
    if config.launch == "process" and config.nodes != 1:
        raise InputError(f"nodes is {config.nodes} with launch=process", "use launch=trainjob, or nodes=1")


def launcher_for(config: LaunchConfig) -> Launcher:
    """The way to run workers that `config.launch` names.

    Raises:
        InputError: there is none of that name, or a setting does not go with it.
    """
    check_launch(config)
    if config.launch == "process":
        return Torchrun(config)
    from components.shared.cluster.api import connect
    from components.shared.cluster.pods import PodLogs
    from components.shared.cluster.train_launcher import TrainJobLauncher

    cluster = connect()
    return TrainJobLauncher(cluster=cluster, logs=PodLogs(cluster), config=config)
