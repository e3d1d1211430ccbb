"""Tokenizer and lexical index of titles and queries."""
