"""InferenceService: reconcile.py reads like a table of contents, plan.py decides, manifests.py renders."""
