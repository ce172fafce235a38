"""Forged owners, labels and names, by a tenant with rights in one namespace, on an operator of the whole cluster."""
