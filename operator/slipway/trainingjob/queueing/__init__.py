"""Queueing of TrainingJobs: what each gang asks for, and which are let in now."""
