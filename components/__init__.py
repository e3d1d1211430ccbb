"""KFP components of shoprank: one folder a stage, plus `shared`, the nouns they have in common."""
