"""Domain nouns that two or more rooms use; imports neither kfp, kserve nor kubernetes."""
