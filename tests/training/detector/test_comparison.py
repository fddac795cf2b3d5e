# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison's file asks for, and mistakes in it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fuzz.contents import CORPUS, KINDS, try_content
from tests.training.detector.configs import small_comparison
from training.config import ROOT, ConfigError
from training.detector import comparison as comparisons

pytestmark = pytest.mark.training

COMPARISONS = ROOT / "training" / "detector" / "comparisons"


@pytest.mark.parametrize(
    "path", sorted(set(COMPARISONS.glob("*.yaml")) - set(COMPARISONS.glob("list-*"))), ids=lambda path: path.stem
)
def test_shipped_comparisons_load(path):
    comparison = comparisons.load(path)
    assert len({cell.name for cell in comparison.cells}) == len(comparison.cells)


def test_methods_differ_in_what_they_name():
    comparison = comparisons.load(COMPARISONS / "methods.yaml", ["base.quantized.iterations=50"])
    assert list(comparison.twins) == [1, 2, 3]
    cells = {(cell.method, cell.bits): cell.config for cell in comparison.cells if cell.seed == 2}
    assert cells["ptq_mse", 8].quantized.iterations == 0
    assert cells["kaq", 3].quantized.iterations == 50
    assert (cells["kaq", 3].activation_bits, cells["kaq", 3].matrix_bits, cells["kaq", 3].seed) == (3, 3, 2)
    assert ("kaq_no_mmd", 4) in cells and ("kaq_no_mmd", 8) not in cells
    kaq, ablated = cells["kaq", 4].to_dict(), cells["kaq_linear_mmd", 4].to_dict()
    assert {key for key in kaq if kaq[key] != ablated[key]} == {"name", "mmd"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"widths": [4]}, "widths"),
        ({"seeds": 1}, "key seeds"),
        ({"bits": []}, "key bits"),
        ({"bits": [9]}, "activation_bits"),
        ({"methods": {}}, "key methods"),
        ({"methods": {"a": 3}}, r"methods\.a"),
        ({"methods": {"a": {"mmd.epsilom": 1}}}, r"methods\.a.*mmd\.epsilom"),
        ({"methods": {"a": {"layers": 4}}}, r"methods\.a\.layers.*twin"),
        ({"methods": {"a": {"only_bits": 4}}}, r"methods\.a\.only_bits"),
    ],
)
def test_mistakes_name_the_key(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        comparisons.load(small_comparison(tmp_path, **changes))


def test_mutated_comparisons_are_read_or_refused(tmp_path):
    kind, rng = KINDS["comparisons"], np.random.default_rng(1)
    once_failed = [path.read_bytes() for path in sorted((CORPUS / "comparisons").glob("*"))]
    assert once_failed
    for content in [*once_failed, *(kind.draw(rng) for _ in range(100))]:
        fault, _, _ = try_content(kind, content, tmp_path)
        assert not fault, content


def test_a_product_of_long_lists_is_refused(tmp_path):
    """Before a configuration is made for each cell: 64 KiB would make 10^8 of them."""
    path = tmp_path / "long.yaml"
    numbers = list(range(8000))
    path.write_text(f"kind: comparison\nbase: {{}}\nseeds: {numbers}\nbits: [4]\nmethods: {{a: {{}}, b: {{}}}}\n")
    with pytest.raises(ConfigError, match="long.yaml: at most 512 seeds times widths"):
        comparisons.load(path)
