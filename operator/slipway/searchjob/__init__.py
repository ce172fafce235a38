"""SearchJob: reconcile.py reads the cache, plan.py decides, sampler.py asks Optuna in a process of its own."""
