# SPDX-License-Identifier: GPL-3.0-or-later
"""Independent units of work: run here, in processes or on a cluster, and kept in a file."""
