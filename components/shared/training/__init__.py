"""Distributed training with TorchRec: process group, sharding, checkpoints, launch."""
