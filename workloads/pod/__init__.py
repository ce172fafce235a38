"""What a process shares with its pod: CPUs, environment, signals, progress, last words, listening sockets."""
