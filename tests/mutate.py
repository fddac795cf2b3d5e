# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the package in one place, an operator, a constant or a condition, and see whether a test notices.

    make coverage                                       which test files run which line
    python -m tests.mutate --count 50 --seed 1          so many changes at random
    python -m tests.mutate --seed 1 --only 17           one of them again

The test files that run the changed line are run on a copy of the package, those of its own room first, until one fails.
What survives is printed: it gets a test, or goes. It may also be harmless: a bound on memory, a tolerance.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "gr_kaq"
ROOMS = ("detection", "estimation", "links", "blocks")
DATA = ROOT / "out" / "coverage" / "data"
MAX_SECONDS = 240  # for the tests of one change; what takes longer may hang

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.LShift: ast.RShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip
SKIPPED = (ast.JoinedStr, ast.Raise, ast.arg, ast.AnnAssign, ast.Import, ast.ImportFrom)  # texts, types and names


@dataclass
class Change:
    """A place in a file, and what becomes of it."""

    path: Path
    line: int
    node: int  # its number in the order of ast.walk
    text: str
    tests: list[str]


def changes_of(path: Path, data: coverage.CoverageData) -> Iterator[Change]:
    """All changes of a file at lines that tests run."""
    by_line = data.contexts_by_lineno(str(path))
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        inner: list[ast.AST] = [node] if isinstance(node, SKIPPED) else []
        if isinstance(node, ast.FunctionDef):
            inner += [*node.decorator_list, *filter(None, [node.returns])]
        if isinstance(node, ast.AnnAssign) and node.value:
            skipped |= set(map(id, ast.walk(node.annotation)))
            continue
        for each in inner:
            skipped |= set(map(id, ast.walk(each)))
    for number, node in enumerate(ast.walk(tree)):
        tests = [test for test in by_line.get(getattr(node, "lineno", 0), ()) if test]
        if tests and id(node) not in skipped and (changed := mutated(node)):
            text = f"{ast.unparse(node)}  ->  {ast.unparse(changed)}"
            yield Change(path, node.lineno, number, text, tests)  # type: ignore[attr-defined]


def mutated(node: ast.AST) -> ast.AST | None:
    """The node with its operator, constant or condition changed; None if it has none."""
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(changed.op) in OPERATORS:
        changed.op = OPERATORS[type(changed.op)]()
    elif isinstance(changed, ast.Compare) and type(changed.ops[0]) in OPERATORS:
        changed.ops[0] = OPERATORS[type(changed.ops[0])]()
    elif isinstance(changed, ast.UnaryOp) and isinstance(changed.op, ast.Not | ast.USub):
        return changed.operand
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, bool):
        changed.value = not changed.value
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, int):
        changed.value += 1
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, float):
        changed.value *= 2
    elif isinstance(changed, ast.IfExp):
        changed.test = ast.UnaryOp(ast.Not(), changed.test)
    elif isinstance(changed, ast.If | ast.While):
        changed = ast.parse("pass").body[0]  # the statement is left out
    else:
        return None
    return changed


def source(change: Change) -> str:
    """The file with the change."""
    tree = ast.parse(change.path.read_text())
    target = list(ast.walk(tree))[change.node]

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST | None:
            return mutated(node) if node is target else self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Replace().visit(tree)))


def verdict(change: Change, modules: Path) -> str:
    """Whether a test fails: "caught", "SURVIVES", or "too slow", which may be a hang, or a busy machine."""
    inside = change.path.relative_to(PACKAGE)
    with tempfile.TemporaryDirectory(prefix="kaq-mutate-") as folder:
        copied = Path(folder) / "modules"
        shutil.copytree(modules, copied, symlinks=True)
        place = copied / "gr_kaq" / inside
        place.unlink()
        place.write_text(source(change))
        environment = os.environ | {
            "PYTHONPATH": f"{copied}:{ROOT}",
            "GRC_BLOCKS_PATH": str(ROOT / "grc"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        own = f"tests/{inside.parts[0]}/"
        files = sorted(change.tests, key=lambda test: (not test.startswith(own), inside.stem not in test, test))
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, timeout=MAX_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "too slow"
        return "SURVIVES" if done.returncode == 0 else "caught"


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=50, help="how many (default: %(default)s)")
    add("--seed", type=int, default=1, help="which (default: %(default)s)")
    add("--only", type=int, help="this one of them and no other")
    add("--modules", type=Path, default=ROOT / "build" / "test_modules", help="the built package")
    add("--output", type=Path, default=Path("out/mutate"), help="where mutate.json goes (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Make the changes; the exit status is 1 if one survives."""
    options = parse_options()
    data = coverage.CoverageData(str(DATA))
    data.read()
    files = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
    every = [change for path in files for change in changes_of(path, data)]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    print(f"{len(chosen)} of {len(every)} changes in {len(files)} files, seed {options.seed}", flush=True)
    survivors, slow = [], 0
    for number, change in enumerate(chosen):
        if options.only not in (None, number):
            continue
        began = time.monotonic()
        word = verdict(change, options.modules)
        where = f"{change.path.relative_to(ROOT)}:{change.line}"
        print(f"{number:4} {word:8} {time.monotonic() - began:4.0f} s  {where}  {change.text}"[:300], flush=True)
        slow += word == "too slow"
        if word == "SURVIVES":
            survivors.append({"number": number, "where": where, "change": change.text, "tests": change.tests})
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"seed": options.seed, "changes": len(chosen), "of": len(every), "slow": slow, "survivors": survivors}
    (options.output / "mutate.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{len(survivors)} of {len(chosen)} survive, {slow} were too slow")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
