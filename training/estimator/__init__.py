# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains, quantizes and measures the learned channel estimator; docs/guide/learned-estimator.md."""
