"""Fixed-point formats, as `ap_fixed<bits, whole>` of AMD's HLS: chosen so that a range of numbers fits. Pure."""

import re
from dataclasses import dataclass
from math import floor, frexp, inf

WIDTHS = (8, 10, 12, 16)  # tried in this order where no precision is asked for


@dataclass(frozen=True)
class Format:
    """Signed numbers of `bits`, `whole` of them (sign included) before the point; may be negative or beyond `bits`."""

    bits: int
    whole: int

    @property
    def step(self) -> float:
        """Distance of two numbers."""
        return 2.0 ** (self.whole - self.bits)

    @property
    def greatest(self) -> float:
        """Greatest number; the least is its negative, less one step."""
        return 2.0 ** (self.whole - 1) - self.step

    def __str__(self) -> str:
        return f"ap_fixed<{self.bits},{self.whole}>"

    @property
    def rounded(self) -> str:
        """The type that rounds to the nearest and stops at its ends, for what is stored."""
        return f"fixed<{self.bits},{self.whole},RND,SAT>"

    def quantized(self, value: float) -> float:
        """The number of this format that a real one becomes; a half goes up, as AP_RND does."""
        return min(max(floor(value / self.step + 0.5) * self.step, -self.greatest - self.step), self.greatest)


def parsed(text: str) -> Format:
    """The format of `ap_fixed<bits,whole>`. ValueError for anything else."""
    found = re.fullmatch(r"ap_fixed<(\d+),(-?\d+)>", text)
    if found is None:
        raise ValueError(f"{text}: not ap_fixed<bits,whole>")
    return Format(int(found[1]), int(found[2]))


def fitting(low: float, high: float, bits: int) -> Format:
    """The finest format of so many bits that holds both ends, but for one step at the upper one."""
    if not (-inf < low < inf and -inf < high < inf):
        raise ValueError(f"no format holds {low} to {high}")
    most = max(-low, high, 0.0)
    whole = (frexp(most)[1] + 1) if most else 1
    # Half a step beyond its ends is what rounding takes anyway; the least number is one step further out.
    narrower = Format(bits, whole - 1)
    half = narrower.step / 2
    if most and -low <= narrower.greatest + narrower.step + half and high <= narrower.greatest + half:
        return narrower
    return Format(bits, whole)
