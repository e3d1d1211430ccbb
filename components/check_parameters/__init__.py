"""Stage: refuse parameters that a later step could not use, before anything is read or trained."""
