# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m gr_kaq` is the command `kaq`."""

import sys

from .commands.kaq import main

sys.exit(main())
