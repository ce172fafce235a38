"""One policy per file; each decides from figures alone."""
