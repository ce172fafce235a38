"""SearchJob v1alpha1: parameters by their paths in a TrainingJob, objective, constraints, algorithm."""
