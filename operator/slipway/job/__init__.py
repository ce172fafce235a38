"""What every kind that runs to completion shares: pods observed, policies, conditions, the plan's words. Pure: no I/O, no clock."""
