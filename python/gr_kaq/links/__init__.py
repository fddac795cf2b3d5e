# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated links: what is sent, what the receiver knows, and the bit errors of detectors on them."""
