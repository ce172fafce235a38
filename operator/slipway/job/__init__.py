"""What the kinds that run to completion share: pods observed, policies, conditions, plans. All pure but execute.py."""
