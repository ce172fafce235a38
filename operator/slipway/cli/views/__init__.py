"""Views of resources: one on a screen, many in a table, the chain that one stands in. Pure."""
