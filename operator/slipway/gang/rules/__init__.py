"""Rules of a gang's life cycle, one subject per file. Pure; called by lifecycle.py."""
