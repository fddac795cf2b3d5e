# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the detectors are, and why: `python -m benchmarks.speed` measures, docs/guide/performance.md shows."""
