"""TrainingJob: reconcile.py reads like a table of contents, plan.py decides, pods.py and launchers/ render."""
