"""The DAGs: stages composed, with resources, caching, conditions, and the `shoprank` command."""
