# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels ahead of time: predictors of the taps of a channel, and how far each is to be believed."""
