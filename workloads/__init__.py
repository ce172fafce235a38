"""Programs of Slipway's workload containers, also on a laptop: `python -m workloads train --config job.json`."""
