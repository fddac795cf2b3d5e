# SPDX-License-Identifier: GPL-3.0-or-later
"""Vocabulary that every room uses: signal model, constellations, known symbols, bit errors, channel estimates."""
