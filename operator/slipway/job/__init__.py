"""What every kind that runs to completion shares: pods observed, policies, conditions, plans. All pure but execute.py."""
