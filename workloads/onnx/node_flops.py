"""FLOPs of an ONNX node by the shapes of its operands: two for each multiplication with its addition.

Quantized ones count alike, though they are integer operations.
"""

import math
from collections.abc import Callable

Shape = tuple[int, ...]
# op -> (places of the operands whose shapes count, FLOPs of (output, first, second operand))
Rule = tuple[tuple[int, int], Callable[[Shape, Shape, Shape], int]]


def _convolution(output: Shape, _image: Shape, weight: Shape) -> int:
    return 2 * math.prod(output) * math.prod(weight[1:])


def _transposed(_output: Shape, image: Shape, weight: Shape) -> int:
    return 2 * math.prod(image) * math.prod(weight[1:])


def _product(output: Shape, left: Shape, _right: Shape) -> int:
    return 2 * math.prod(output) * left[-1]


def _gemm(output: Shape, left: Shape, _right: Shape) -> int:
    return 2 * math.prod(output) * (math.prod(left) // output[0])  # whichever way the left one is turned


RULES: dict[str, Rule] = {
    "Conv": ((0, 1), _convolution),
    "ConvInteger": ((0, 1), _convolution),
    "QLinearConv": ((0, 3), _convolution),
    "ConvTranspose": ((0, 1), _transposed),
    "MatMul": ((0, 1), _product),
    "MatMulInteger": ((0, 1), _product),
    "QLinearMatMul": ((0, 3), _product),
    "MatMulNBits": ((0, 1), _product),
    "Gemm": ((0, 1), _gemm),
    "QGemm": ((0, 3), _gemm),
}
