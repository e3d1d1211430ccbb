"""Readers of Parquet, CSV and JSON: unconverted rows, chunk by chunk in bounded memory, without losing a line."""
