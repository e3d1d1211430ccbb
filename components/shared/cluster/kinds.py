"""The resources that shoprank reads or writes (KServe 0.20, Trainer 2.3)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One resource of the Kubernetes API.

    Attributes:
        group: API group. version: of the group. plural: as in the URL. kind: as in a manifest.
        needs: software that provides the kind, named in the error if it is missing.
        namespaced: False for cluster-scoped resources.
    """

    group: str
    version: str
    plural: str
    kind: str
    needs: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apiVersion` of a manifest."""
        return f"{self.group}/{self.version}"


POD = Kind("", "v1", "pods", "Pod", "Kubernetes 1.30")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment", "Kubernetes 1.30")
JOB = Kind("batch", "v1", "jobs", "Job", "Kubernetes 1.30")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease", "Kubernetes 1.30")
AUTOSCALER = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "Kubernetes 1.30")
INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", "KServe 0.20")
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", "the Gateway API's CRDs")
GATEWAY = Kind("gateway.networking.k8s.io", "v1", "gateways", "Gateway", "the Gateway API's CRDs")
TRAIN_JOB = Kind("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob", "Kubeflow Trainer 2.3")
CLUSTER_TRAINING_RUNTIME = Kind(
    "trainer.kubeflow.org", "v1alpha1", "clustertrainingruntimes", "ClusterTrainingRuntime", "Kubeflow Trainer 2.3",
    namespaced=False,
)  # fmt: skip
