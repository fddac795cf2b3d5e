# SPDX-License-Identifier: GPL-3.0-or-later
"""The MIMO-OFDM frame: its format, how it is found in samples, its payload, and files sent in it."""
