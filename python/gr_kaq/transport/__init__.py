# SPDX-License-Identifier: GPL-3.0-or-later
"""What carries PDUs over a link that loses blocks: segmentation, selective repeat, priorities, deadlines, rate."""
