"""Stage: validate all parameters before anything is read or trained."""
