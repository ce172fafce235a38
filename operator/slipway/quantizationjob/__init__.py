"""QuantizationJob: reconcile.py reads like a table of contents, plan.py decides, pods.py renders."""
