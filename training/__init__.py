# SPDX-License-Identifier: GPL-3.0-or-later
"""Offline training in PyTorch: networks, quantization, training, evaluation, export. See training/README.md."""
