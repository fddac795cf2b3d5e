# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a network with candidates tries them, and where its LLRs come from the first run; docs/design.md says why.

Both follow the mean error variance of a channel's linear estimate, in units of half_distance^2. Where it is large, many
vectors fit the received one about equally well.
"""

from __future__ import annotations

__all__ = ["SEARCH_LIMIT", "SOFT_LIMIT"]

SOFT_LIMIT = 0.27
"""Above it (16x16, 16-QAM: below 16.5 dB) the best fit is the better decision still, but a decoder gains more from the
first run, which says where it is in doubt: LLRs come from there."""

SEARCH_LIMIT = 0.45
"""Above it (below 12 dB) the first run's decisions are better too, and no candidates are tried."""
