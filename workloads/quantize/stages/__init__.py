"""The stages of a job, one per file: what a pod runs with `--stage`. Each may be killed anywhere and run again."""
