# SPDX-License-Identifier: GPL-3.0-or-later
"""A link that adapts: what its receiver measures, how modulation, coding and rank follow, and trials of that."""
