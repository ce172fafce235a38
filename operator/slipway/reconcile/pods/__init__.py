"""Pods of one owner: what they tell, whose they are, and which have to go."""
