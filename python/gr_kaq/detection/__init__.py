# SPDX-License-Identifier: GPL-3.0-or-later
"""Detectors behind one interface, and the specification that they follow; models/ holds those that ship."""
