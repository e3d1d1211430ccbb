"""Stage: trained torch models to ONNX graphs, quantised tables and indexes, with proof that they answer alike."""
