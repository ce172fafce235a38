"""Reconciling of any kind: pods observed, labels, status drafts, plans and their execution. Knows no kind."""
