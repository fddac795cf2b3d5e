# SPDX-License-Identifier: GPL-3.0-or-later
"""Critical-band probes: noise in one band at a time, and how much of it a receiver stands; its channel follows."""
