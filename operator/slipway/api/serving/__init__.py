"""InferenceService v1alpha1."""
