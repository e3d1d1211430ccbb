"""What stages and pipelines need of a Kubernetes cluster; the one room that imports `kubernetes`, and no stage."""
