#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Whether `make test` is to install torch: offer_torch.sh VENV yes|no|auto. Status 0: yes; 1: no. Says why.
# auto: yes where pip is offered a CPU build; otherwise whoever sits at the terminal is asked, as it takes gigabytes.
without="the training tests are left out, all others run. TORCH=yes installs it"
case $2 in
    yes) exit 0 ;;
    no) echo "torch: not wanted (TORCH=no); $without"; exit 1 ;;
esac
if "$1/bin/python" -c "import torch" 2> /dev/null; then
    exit 0
fi
if "$1/bin/pip" index versions torch 2> /dev/null | grep -q '+cpu'; then
    exit 0
fi
echo "torch, for the training tests: pip is offered the CUDA build only, a download of 2.8 GB, and 4.9 GB in $1."
echo "PyTorch's web site tells how to get the CPU build, a tenth of that (\"Get started locally\")."
if [ -t 0 ]; then
    printf 'Install it? [y/N] '
    read -r answer
    case $answer in [yY]*) exit 0 ;; esac
fi
echo "torch: not installed; $without"
exit 1
