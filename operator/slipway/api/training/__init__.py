"""TrainingJob v1alpha1, and the recipe that `python -m workloads train` reads."""
