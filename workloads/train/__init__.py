"""The trainer: `command` parses, `run` puts the parts together, `loop` trains."""
