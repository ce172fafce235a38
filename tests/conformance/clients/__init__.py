"""Clients that others wrote, given the same inputs: which of them are answered rightly?"""
