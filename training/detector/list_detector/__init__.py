# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of list detectors: K-best search and expectation propagation, fused to LLRs."""
