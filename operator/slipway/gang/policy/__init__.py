"""One policy per file, each a pure function of the job's own words, what was observed, and the time."""
