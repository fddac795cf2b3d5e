# SPDX-License-Identifier: GPL-3.0-or-later
"""A network that is no estimator: two encoder layers with outlier channels, whose products and norms have names."""

import torch
from torch import nn

from training.quantization.product import Constant, Norm, Product, Rows, Site

WIDTH, HIDDEN, HEADS = 24, 40, 2


class Toy(nn.Module):
    """(N, 10, WIDTH) to the same shape."""

    def __init__(self, bits=None, unsigned=True):
        super().__init__()
        self.softmax = nn.Softmax(-1)
        self.norm, self.norm_again = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project = Product(WIDTH, 3 * WIDTH, bits, "static")
        self.combine = Product(WIDTH, WIDTH, bits, "static")
        self.expand = Product(WIDTH, HIDDEN, bits, "static")
        self.contract = Product(HIDDEN, WIDTH, bits, "static", unsigned)
        self.output = Product(WIDTH, WIDTH, bits, "static")
        with torch.no_grad():
            for norm in (self.norm, self.norm_again):
                norm.weight.copy_(torch.rand(WIDTH) + 0.5)
                norm.bias.copy_(torch.randn(WIDTH))
                norm.weight[3], norm.bias[5] = 20.0, 15.0
            for product in self.products().values():
                product.bias.normal_()
            self.project.weight[: 2 * WIDTH] *= 0.1  # attention that does not saturate

    def products(self):
        return {name: module for name, module in self.named_children() if isinstance(module, Product)}

    def sites(self):
        feeds = {
            "project": Norm(self.norm),
            "combine": Rows(self.project, 2 * WIDTH, HEADS, shifts=True),
            "expand": Norm(self.norm_again),
            "contract": Rows(self.expand),
            "output": Constant(self.output),
        }
        return [Site(name, product, feeds[name]) for name, product in self.products().items()]

    def forward(self, x):
        seen = []
        root = torch.ones(len(x), dtype=x.dtype)
        projected = self.project(self.norm(x), root, seen)
        query, key, value = projected.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = (self.softmax(query @ key.mT / 4) @ value).transpose(1, 2).flatten(2)
        x = x + self.combine(attended, root, seen)
        x = x + self.contract(self.expand(self.norm_again(x), root, seen).relu(), root, seen)
        return self.output(x, root, seen), seen


def inputs(seed=0, grids=64):
    return torch.randn(grids, 10, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy(bits=None, seed=0):
    torch.manual_seed(seed)
    return Toy(bits).double()
