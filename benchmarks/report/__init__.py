# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: measurements, plots and a table that answers the paper's claims; see `__main__` for the command."""
