"""Building blocks of every kind: base model, scalars, pods, volumes, artifacts."""
