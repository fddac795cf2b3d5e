# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays, their beams, and searches for the best one: policies with few pilots, tracking; no GNU Radio."""
