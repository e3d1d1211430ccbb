"""KFP face of the parameter check."""

from kfp import dsl

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def check_parameters(
    size: str,
    mapping: str,
    seed: int,
    processes: int,
    launch: str,
    nodes: int,
    retriever_hyperparameters: str,
    encoder: str,
    loss: str,
    retriever_optimizer: str,
    ranker_hyperparameters: str,
    architecture: str,
    ranker_optimizer: str,
    hot_candidates: int,
    inference_log: str,
    teacher: str,
    precision: str,
    dense_precision: str,
    prune: bool,
    runtime: str,
    limits: str,
    registry: str,
    model_name: str,
    lineage: str,
    publish: str,
    strategy: str,
    backend: str,
    service: str,
    namespace: str,
    storage: str,
    mode: str,
    confidential: str,
    gateway: str,
    evidence: str,
    events: str,
    steps: str,
    guards: str,
):
    """Refuse, before anything is read, what a later step could not use: the first fault of each part, all at once.

    Args:
        size: As in the training pipeline, as all that follow; what is empty there is empty here.
        mapping: JSON.
        seed: Of everything random.
        processes: Training processes of a node; the batches must be theirs to share.
        launch: process or trainjob.
        nodes: Nodes of a TrainJob.
        retriever_hyperparameters: JSON, or where it lies on the volume.
        encoder: JSON.
        loss: JSON.
        retriever_optimizer: JSON.
        ranker_hyperparameters: JSON, or where it lies on the volume.
        architecture: JSON.
        ranker_optimizer: JSON.
        hot_candidates: Items of the highest popularity among the candidates.
        inference_log: Folder, not opened here.
        teacher: JSON.
        precision: Of embedding rows.
        dense_precision: Of dense layers.
        prune: Whether untrained rows are left out.
        runtime: What serves the model.
        limits: JSON.
        registry: Folder, not opened here.
        model_name: Name in the registry.
        lineage: JSON.
        publish: Where else a version is made known; not asked here.
        strategy: direct or guarded.
        backend: local or kserve.
        service: Name of the InferenceService; no cluster is asked here.
        namespace: Where it lives.
        storage: URI of the registry's folder.
        mode: Standard or Knative.
        confidential: Resource id of a key.
        gateway: Name of a Gateway.
        evidence: Address or folder, not opened here.
        events: Folder, not opened here.
        steps: Percentages.
        guards: JSON.
    """
    from components.check_parameters import check as stage

    data = {"size": size, "mapping": mapping}
    train = {"seed": seed, "processes": processes, "launch": launch, "nodes": nodes}
    retriever = {"retriever_hyperparameters": retriever_hyperparameters, "encoder": encoder, "loss": loss,
                 "retriever_optimizer": retriever_optimizer}  # fmt: skip
    ranker = {"ranker_hyperparameters": ranker_hyperparameters, "architecture": architecture, "teacher": teacher,
              "ranker_optimizer": ranker_optimizer, "hot_candidates": hot_candidates,
              "inference_log": inference_log}  # fmt: skip
    release = {"precision": precision, "dense_precision": dense_precision, "prune": prune, "runtime": runtime,
               "limits": limits, "registry": registry, "model_name": model_name, "lineage": lineage,
               "publish": publish, "strategy": strategy, "backend": backend, "service": service,
               "namespace": namespace, "storage": storage, "mode": mode, "confidential": confidential,
               "gateway": gateway, "evidence": evidence, "events": events, "steps": steps,
               "guards": guards}  # fmt: skip
    stage.check_parameters({**data, **train, **retriever, **ranker, **release})
