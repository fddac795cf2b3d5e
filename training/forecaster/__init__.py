# SPDX-License-Identifier: GPL-3.0-or-later
"""The network that forecasts channels by clusters of series."""
