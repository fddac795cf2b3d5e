# SPDX-License-Identifier: GPL-3.0-or-later
"""Training, evaluation and export of unfolded detectors."""
