"""Training throughput beside plain torch and other libraries: the same DLRM and the same sequences in one run."""
