"""The process that reads large requests of every form: the server starts it, and imports nothing of it."""
