# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of single precision that every instruction set has, in NumPy, to the bit.

NumPy has no fused multiply-add. `plus_product` computes it in double precision: the product of two single-precision
numbers is exact there, and the sum is rounded to odd, so that the second rounding, to single precision, gives what one
rounding of the exact sum would (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
using rounding to odd", IEEE Trans. Computers 57(4), 2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clip", "exponential", "maximum", "minimum", "minus_product", "plus_product", "round_to_int"]

Float = NDArray[np.float32]
Operand = Float | np.float32
Int = NDArray[np.int32]

LOG2_E = np.float32(1.44269504)
LN_2_POWERS = tuple(np.float32(c) for c in (0.00961813, 0.05550411, 0.24022651, 0.69314718, 1.0))
"""Coefficients of 2^f for |f| <= 1/2, the highest power first (Taylor series of e^(f ln 2))."""
LEAST_EXPONENT = np.float32(-59.0)  # 2e-18: products of two such values are still normal numbers


def plus_product(total: Operand, a: Operand, b: Operand) -> Float:
    """total + a b, rounded once."""
    product = np.multiply(a, b, dtype=np.float64)  # exact: 48 bits
    addend = np.asarray(total, np.float64)
    rounded = np.asarray(product + addend)
    with np.errstate(invalid="ignore"):  # Inf has no error
        part = rounded - product
        error = (product - (rounded - part)) + (addend - part)
    bits = rounded.view(np.int64)
    even = (error != 0) & np.isfinite(error) & (bits & 1 == 0)
    away = (error > 0) == (rounded > 0)  # the exact sum is larger in magnitude than what it was rounded to
    odd = bits + np.where(even, np.where(away, 1, -1), 0)
    return odd.view(np.float64).astype(np.float32)


def minus_product(total: Operand, a: Operand, b: Operand) -> Float:
    """total - a b, rounded once."""
    return plus_product(total, np.negative(a), b)


def maximum(a: Operand, b: Operand) -> Float:
    """The larger one; b where a is NaN."""
    return np.where(a > b, a, b)


def minimum(a: Operand, b: Operand) -> Float:
    """The smaller one; b where a is NaN."""
    return np.where(a < b, a, b)


def clip(x: Float, low: float, high: float) -> Float:
    """x between low and high; low where x is NaN."""
    return minimum(maximum(x, np.float32(low)), np.float32(high))


def round_to_int(x: Float) -> Int:
    """To the nearest integer, half to even, for |x| < 2^22."""
    return np.rint(x).astype(np.int32)


def exponential(x: Float) -> Float:
    """e^x for x <= 80: 2^n times a polynomial of degree 4, with a relative error below 5e-5."""
    power = maximum(x * LOG2_E, LEAST_EXPONENT)
    whole = np.rint(power)
    fraction = power - whole
    out = np.broadcast_to(LN_2_POWERS[0], fraction.shape)
    for coefficient in LN_2_POWERS[1:]:
        out = plus_product(coefficient, out, fraction)
    return out * ((whole.astype(np.int32) + 127) << 23).view(np.float32)
