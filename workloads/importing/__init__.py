"""Models that others exported become artifacts: `python -m workloads import`."""
