"""Caches of watched objects, and each namespace's share of their memory."""
