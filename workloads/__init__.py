"""What runs inside Slipway's workload containers, and on a laptop: `python -m workloads train --config job.json`."""
