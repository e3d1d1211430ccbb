"""The trained models as torch modules; imported by training, evaluation and export, never by serving."""
