"""Interface of a process to its pod: CPUs, environment, signals, progress, termination message, listening sockets."""
