# SPDX-License-Identifier: GPL-3.0-or-later
"""GNU Radio blocks, one per file: thin, no maths."""
