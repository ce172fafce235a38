"""Results of a training: the published artifact, its report, and the rehearsal of both."""
