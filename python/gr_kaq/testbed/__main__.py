# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m gr_kaq.testbed` is a simulated testbed."""

import sys

from .command import main

sys.exit(main())
