# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `kaq`, one file per subcommand."""
