"""What a tenant or a pod of his can do to the operator, as programs that tests and measurements share."""
