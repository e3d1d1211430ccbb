"""Turn raw shop data into the events, items and users of the data contract."""
