# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated and recorded channels; recordings/ holds those that ship."""
