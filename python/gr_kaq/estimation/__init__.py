# SPDX-License-Identifier: GPL-3.0-or-later
"""From a frame's training symbols to a channel estimate; estimators/ holds the learned ones that ship."""
