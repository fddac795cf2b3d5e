# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each frame of a recording, and why frames were not decoded."""
