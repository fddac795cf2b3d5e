# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to refuse hostile files: in a process of its own, which may hang or fill the memory."""

import json
import subprocess
import sys
import textwrap

TIMEOUT = 300  # seconds for all files together; a hang, not a matter of speed
PEAK = "int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]) / 1024"

SCRIPT = """
import json, sys, time
{setup}
def peak():
    return {peak}
before, said = peak(), []
for path in json.load(sys.stdin):
    begin = time.perf_counter()
    try:
        read(path)
        said.append("")
    except ValueError as error:
        said.append(str(error))
    seconds = time.perf_counter() - begin
    print(f"{{seconds:.2f}} s, {{peak() - before:.0f}} MiB: {{path}}: {{said[-1]}}", file=sys.stderr)
print(json.dumps([said, peak() - before]))
"""


def refusals(setup: str, paths: list) -> tuple[list[str], float]:
    """What is said of each file, "" where it is read, and by how many MiB the process grew at most.

    Args:
        setup: Python that defines `read(path)`.
        paths: of the files. Times and peaks are printed, for `pytest -s`.
    """
    script = SCRIPT.format(setup=textwrap.dedent(setup), peak=PEAK)
    found = subprocess.run(
        [sys.executable, "-B", "-c", script],
        input=json.dumps([str(path) for path in paths]),
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    said, grown = json.loads(found.stdout)
    return said, grown
