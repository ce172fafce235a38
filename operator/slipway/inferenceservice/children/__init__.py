"""Objects that a service owns, as manifests. Pure."""
