"""Experiment tracking: TensorBoard's event files, and MLflow's runs."""
