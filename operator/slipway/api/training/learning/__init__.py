"""What a run learns by and whom it tells: optimizer and schedule, and experiment tracking."""
