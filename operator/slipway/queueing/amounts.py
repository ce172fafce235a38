"""Amounts of resources as people write them. Pure; for conditions."""


def shown(name: str, amount: int) -> str:
    """An amount as people write it: 1500 thousandths of CPUs are 1.5, bytes become Gi or Mi."""
    if name == "cpu":
        return f"{amount / 1000:g}"
    if "/" not in name and amount >= 2**20:
        return f"{amount / 2**30:.3g}Gi" if amount >= 2**30 else f"{amount / 2**20:.3g}Mi"
    return str(amount)
