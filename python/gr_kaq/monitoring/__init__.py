# SPDX-License-Identifier: GPL-3.0-or-later
"""A view of a running receiver in the browser: what it publishes over ZMQ, and the page that shows it."""
