# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests need torch, which the run time does without: where it is missing, they are left out."""

import importlib.util

collect_ignore_glob = ["test_*.py", "*/test_*.py"]
if importlib.util.find_spec("torch"):
    import torch

    collect_ignore_glob = []
    torch.set_num_threads(1)  # the matrices are small
