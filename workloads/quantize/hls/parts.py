"""DSP slices of AMD's FPGAs, by device, from the data sheets' overviews; and what one multiplication takes of them.

Sources: DS180 (7 series), DS190 (Zynq-7000), DS890 (UltraScale and UltraScale+), DS891 (Zynq UltraScale+), DS962 and
the cards' product briefs (Alveo). Multipliers: 25 x 18 bits in 7 series (UG479), 27 x 18 in UltraScale (UG579).
"""

from dataclasses import dataclass
from math import ceil

from workloads.errors import BadInput

DEVICES = {
    "xc7z007s": 66, "xc7z010": 80, "xc7z012s": 120, "xc7z014s": 170, "xc7z015": 160, "xc7z020": 220,
    "xc7z030": 400, "xc7z035": 900, "xc7z045": 900, "xc7z100": 2020,
    "xc7a35t": 90, "xc7a50t": 120, "xc7a75t": 180, "xc7a100t": 240, "xc7a200t": 740,
    "xc7k70t": 240, "xc7k160t": 600, "xc7k325t": 840, "xc7k410t": 1540,
    "xc7vx485t": 2800, "xc7vx690t": 3600,
    "xcku040": 1920, "xcku060": 2760, "xcku115": 5520, "xcku3p": 1368, "xcku5p": 1824, "xcku15p": 1968,
    "xcvu3p": 2280, "xcvu5p": 3474, "xcvu7p": 4560, "xcvu9p": 6840, "xcvu11p": 9216, "xcvu13p": 12288,
    "xczu2eg": 240, "xczu3eg": 360, "xczu4ev": 728, "xczu5ev": 1248, "xczu7ev": 1728, "xczu9eg": 2520,
    "xczu15eg": 3528, "xczu28dr": 4272, "xczu48dr": 4272, "xck26": 1248,
    "xcu50": 5952, "xcu55c": 9024, "xcu200": 6840, "xcu250": 12288, "xcu280": 9024,
}  # fmt: skip
SEVEN = ("xc7", "xa7", "xq7")


@dataclass(frozen=True)
class Part:
    """A part. `dsps`: slices that may be taken; `operands`: bits of a slice's multiplier."""

    name: str
    dsps: int
    operands: tuple[int, int]

    def slices(self, first: int, second: int) -> int:
        """Slices for a product of signed numbers of so many bits, the better way round."""
        wide, narrow = self.operands
        ways = ((first, second), (second, first))
        return min(_pieces(one, wide) * _pieces(other, narrow) for one, other in ways)


def part_of(name: str, dsps: int | None) -> Part:
    """The part by AMD's number. BadInput for one that is not known and of which `dsps` says nothing."""
    device = next((known for known in sorted(DEVICES, key=len, reverse=True) if name.startswith(known)), None)
    if device is None and dsps is None:
        raise BadInput(
            f"target.fpga.part {name}: its number of DSP slices is not known here: say it by target.fpga.dsps (known: "
            f"{', '.join(sorted(DEVICES))})"
        )
    if device is not None and dsps is not None and dsps > DEVICES[device]:
        raise BadInput(f"target.fpga.dsps {dsps}: {device} has {DEVICES[device]} of them")
    operands = (25, 18) if name.startswith(SEVEN) else (27, 18)
    return Part(name, dsps if dsps is not None else DEVICES[str(device)], operands)


def _pieces(bits: int, width: int) -> int:
    """Pieces of a signed number for a multiplier's operand; those below the first have no sign, which takes a bit."""
    return 1 if bits <= width else 1 + ceil((bits - width) / (width - 1))
