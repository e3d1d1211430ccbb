"""Code shared by several stages and the predictor, in packages by domain; imports neither kfp nor kserve."""
