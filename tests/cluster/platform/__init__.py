"""A real Kubernetes with KServe, Trainer, JobSet and, as root, pods, a gateway and S3, built from source."""
