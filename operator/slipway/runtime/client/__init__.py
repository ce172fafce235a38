"""Client of the API server: connection, verbs, errors, and how its objects are named."""
