"""Stage: train the multi-task ranker on retrieved candidates, distributed by TorchRec."""
