"""Element types of the Open Inference Protocol, and numpy's types for them. Used wherever tensors are."""

from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from slipway.api.common.artifact import DType

Array = npt.NDArray[Any]

# Elements of a large array that are looked at in one go: what numpy notes of each stays in the processor's cache.
PIECE = 1 << 18


class Datatype(Enum):
    """The protocol's names. The value is numpy's type, little-endian as on the wire; BYTES are Python's `bytes`."""

    BOOL = np.dtype(np.bool_)
    UINT8 = np.dtype("<u1")
    UINT16 = np.dtype("<u2")
    UINT32 = np.dtype("<u4")
    UINT64 = np.dtype("<u8")
    INT8 = np.dtype("<i1")
    INT16 = np.dtype("<i2")
    INT32 = np.dtype("<i4")
    INT64 = np.dtype("<i8")
    FP16 = np.dtype("<f2")
    BF16 = np.dtype(ml_dtypes.bfloat16)
    FP32 = np.dtype("<f4")
    FP64 = np.dtype("<f8")
    BYTES = np.dtype(object)

    def __init__(self, dtype: "np.dtype[Any]") -> None:
        self.dtype = dtype
        # Plain attributes, because they are read for every tensor of every request.
        self.floating = dtype.kind in "fV"
        self.integer = dtype.kind in "iu"
        self.itemsize = dtype.itemsize
        # FP16 and BF16 travel in binary only: the protocol gives them no JSON form.
        self.in_json = not (self.floating and dtype.itemsize == 2)


FROM_ARTIFACT = {
    DType.FLOAT32: Datatype.FP32,
    DType.FLOAT16: Datatype.FP16,
    DType.BFLOAT16: Datatype.BF16,
    DType.INT8: Datatype.INT8,
    DType.UINT8: Datatype.UINT8,
    DType.INT32: Datatype.INT32,
    DType.INT64: Datatype.INT64,
    DType.BOOL: Datatype.BOOL,
    DType.FLOAT64: Datatype.FP64,
    DType.INT16: Datatype.INT16,
    DType.UINT16: Datatype.UINT16,
    DType.UINT32: Datatype.UINT32,
    DType.UINT64: Datatype.UINT64,
    DType.STRING: Datatype.BYTES,
}


def finite(array: Array) -> bool:
    """Tell whether an array holds neither NaN nor infinity; always so for types that have neither."""
    # The ufunc itself: `all` goes through Python, which takes as long again for a small request.
    if array.dtype.kind not in "fV":
        return True
    if array.size <= PIECE:
        return bool(np.logical_and.reduce(np.isfinite(array), axis=None))
    flat = array.reshape(-1)
    return all(np.isfinite(flat[start : start + PIECE]).all() for start in range(0, len(flat), PIECE))
