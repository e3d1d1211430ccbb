"""Stage: export torch models to ONNX or native code with quantised tables and indexes, and compare them."""
