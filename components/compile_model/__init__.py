"""Stage: trained torch models to ONNX or native code, quantised tables and indexes, proven to answer alike."""
