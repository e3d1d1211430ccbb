"""Stage: train the two-tower retriever on visits, distributed by TorchRec."""
