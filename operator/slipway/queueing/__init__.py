"""Queueing of gangs: who waits, who starts next, and what the cluster and the quotas have left. Pure but admission."""
