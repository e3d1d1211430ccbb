"""The `shoprank` command: one typer app, a module per group of commands."""
