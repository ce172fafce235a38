"""The story of a job for people and machines: report.json, and report.html with its plots inside."""
