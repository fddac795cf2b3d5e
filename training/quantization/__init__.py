# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantization in training, which detectors and estimators share: quantizers, laws of the SNR, and the MMD loss."""
