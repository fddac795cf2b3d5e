# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: our detectors, NumPy, torch and Sionna.

Everything computes symbols from y and H: what is due once per estimate and what is due per vector. Each contestant gets
y and writes its result in the layout it likes best. All are on one thread, in single precision or below.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gr_kaq
from benchmarks.report.peers import CPU, PEERS, sionna_module
from gr_kaq.detection.list_detector import ListDetector
from gr_kaq.detection.list_native import NativeListPlan
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.plan import Plan
from gr_kaq.signals.constellation import CONSTELLATIONS

from .data import CONSTELLATION, Link
from .timing import Timed, calls

__all__ = [
    "ADMM",
    "BITS",
    "LIST",
    "LMMSE",
    "NUMPY_FORMS",
    "Variants",
    "kernels",
    "load_model",
    "native_data",
    "numpy_lmmse",
    "our_list",
    "ours",
    "sionna_detector",
    "sionna_lmmse",
    "torch_forms",
    "torch_lmmse",
    "unfolded",
]

Variants = Iterator[Callable[[], Timed]]
Complex = NDArray[np.complex64]

ADMM, LIST, LMMSE = "admm5-16qam", "list8-16qam", "lmmse"
BITS = CONSTELLATIONS[CONSTELLATION].bits_per_symbol
VECTORS_PER_CALL = (64, 1024)
"""Contestants in Python choose: few vectors stay in the caches, many spread what a call costs."""


# -- ours


def ours(
    name: str, link: Link, *, constellation: str = CONSTELLATION, precision: str = "auto", with_llrs: bool = False
) -> Variants:
    """A detector by name, as the block calls it: a plan, then `prepare` and `detect_streams`."""
    detector = gr_kaq.load_detector(name, constellation=constellation, precision=precision)
    yield from _called(detector.plan, link, detector.constellation.bits_per_symbol if with_llrs else 0)


def unfolded(model: DetectorModel, link: Link, precision: str) -> Variants:
    """The same of a model."""
    yield from _called(gr_kaq.UnfoldedDetector(model, "native", precision).plan, link, 0)


def our_list(name: str, link: Link, instruction_set: str) -> Variants:
    """A list detector, as above, with LLRs."""
    detector = gr_kaq.load_detector(name)
    assert isinstance(detector, ListDetector)
    yield from _called(partial(NativeListPlan, detector.model, instruction_set=instruction_set), link, BITS)


def _called(make_plan: Callable[[int, int, int], Plan], link: Link, num_llrs: int) -> Variants:
    """num_llrs: of a symbol; 0: leave them out."""
    antennas = list(link.streams)
    symbols = [np.empty_like(antennas[0]) for _ in range(link.num_tx)]
    width = link.num_channels * num_llrs
    llrs = [np.empty((link.num_vectors, width), np.float32) for _ in range(link.num_tx)] if num_llrs else []
    plan = make_plan(link.num_channels, link.num_rx, link.num_tx)

    def call() -> None:
        prepared = plan.prepare(link.h, noise_var=link.noise_var, vectors_per_estimate=link.num_vectors)
        prepared.detect_streams(antennas, symbols, llrs)

    yield partial(calls, call, link.vectors)


def load_model(name: str, *, any_size: bool = False) -> DetectorModel:
    """A shipped model; with `any_size` for as many antennas as the kernel takes, as if it were trained for them."""
    detector = gr_kaq.load_detector(name, backend="reference")
    assert isinstance(detector, gr_kaq.UnfoldedDetector)
    return dataclasses.replace(detector.model, max_num_rx=64, max_num_tx=64) if any_size else detector.model


def kernels() -> Any:
    """The compiled module of this benchmark: stages of the kernels, and microbenchmarks.

    Raises:
        ImportError: it is not built.
    """
    try:
        return importlib.import_module("kaq_speed")
    except ImportError as error:
        raise ImportError(f"{error}; cmake --build build --target kaq_speed makes it") from None


def native_data(link: Link) -> Any:
    """Buffers for the compiled module."""
    return kernels().Data(link.h, link.noise_var, link.streams, BITS)


# -- libraries


def _batches(link: Link, sizes: tuple[int, ...] = VECTORS_PER_CALL) -> list[Link]:
    """Links of as many channels as give about so many vectors; the link itself first."""
    counts = {max(1, vectors // link.num_vectors) for vectors in sizes} - {link.num_channels}
    return [link, *(dataclasses.replace(link, num_channels=count) for count in sorted(counts))]


def _regularised_gram(of: Link) -> tuple[Complex, Complex]:
    """Conjugate of H, and H^H H + noise_var I."""
    conjugate = of.h.conj()
    gram = conjugate.swapaxes(-1, -2) @ of.h
    np.einsum("cii->ci", gram)[:] += np.float32(of.noise_var)
    return conjugate, gram


def _gain(of: Link, inverse: Complex) -> NDArray[np.float32]:
    """The diagonal of W H, (C, num_tx)."""
    return 1 - np.float32(of.noise_var) * np.einsum("cii->ci", inverse).real


def _numpy_filter(of: Link) -> Complex:
    conjugate, gram = _regularised_gram(of)
    inverse = np.linalg.inv(gram)
    filters = inverse @ conjugate.swapaxes(-1, -2)
    filters /= _gain(of, inverse)[..., None]
    return of.y @ filters.swapaxes(-1, -2)


def _numpy_two_products(of: Link) -> Complex:
    conjugate, gram = _regularised_gram(of)
    inverse = np.linalg.inv(gram)
    x = (of.y @ conjugate) @ inverse.swapaxes(-1, -2)
    x /= _gain(of, inverse)[:, None]
    return x


def _numpy_solve(of: Link) -> Complex:
    conjugate, gram = _regularised_gram(of)
    return np.linalg.solve(gram, (of.y @ conjugate).swapaxes(-1, -2)).swapaxes(-1, -2)


NUMPY_FORMS = {
    "inverse, filter": _numpy_filter,
    "inverse, two products": _numpy_two_products,
    "solve, biased": _numpy_solve,
}
"""LMMSE in NumPy: a link's symbols (C, T, num_tx). One leaves them biased, which spares it the inverse's diagonal."""


def numpy_lmmse(link: Link) -> Variants:
    """NumPy in complex64: by an inverse, applied as a filter or in two products, or by solving."""
    for of in _batches(link):
        for name, form in NUMPY_FORMS.items():
            yield partial(calls, partial(form, of), of.vectors, f"{name}, {of.num_channels} channels")


def torch_forms(method: str) -> dict[str, Callable[[Any, Any, Any, float], Any]]:
    """LMMSE in torch: symbols (C, T, num_tx) of h, y, an identity matrix and noise_var.

    Args:
        method: ``"cholesky"`` or ``"inverse"``.
    """
    torch = importlib.import_module("torch")

    def unbiased(x: Any, inverse: Any, noise_var: float) -> Any:
        return x / (1 - noise_var * inverse.diagonal(dim1=-2, dim2=-1).real)[:, None]

    def cholesky_solve(h: Any, y: Any, eye: Any, noise_var: float) -> Any:
        hermitian = h.mH
        factor, _ = torch.linalg.cholesky_ex(hermitian @ h + noise_var * eye)
        return torch.cholesky_solve(hermitian @ y.mT, factor).mT

    def cholesky_inverse(h: Any, y: Any, eye: Any, noise_var: float) -> Any:
        hermitian = h.mH
        factor, _ = torch.linalg.cholesky_ex(hermitian @ h + noise_var * eye)
        inverse = torch.cholesky_inverse(factor)
        return unbiased(y @ (inverse @ hermitian).mT, inverse, noise_var)

    def inverse_filter(h: Any, y: Any, eye: Any, noise_var: float) -> Any:
        hermitian = h.mH
        inverse, _ = torch.linalg.inv_ex(hermitian @ h + noise_var * eye)
        return unbiased(y @ (inverse @ hermitian).mT, inverse, noise_var)

    def inverse_two_products(h: Any, y: Any, eye: Any, noise_var: float) -> Any:
        inverse, _ = torch.linalg.inv_ex(h.mH @ h + noise_var * eye)
        return unbiased((y @ h.conj()) @ inverse.mT, inverse, noise_var)

    if method == "cholesky":
        return {"Cholesky, solve, biased": cholesky_solve, "Cholesky, inverse": cholesky_inverse}
    return {"inverse, filter": inverse_filter, "inverse, two products": inverse_two_products}


def torch_lmmse(link: Link, method: str) -> Variants:
    """torch in complex64, the fastest of `torch_forms`."""
    torch = importlib.import_module("torch")

    def make(form: Callable[..., Any], of: Link, variant: str) -> Timed:
        arguments = torch.from_numpy(of.h), torch.from_numpy(of.y), torch.eye(of.num_tx), of.noise_var

        def call() -> None:
            with torch.inference_mode():
                form(*arguments)

        return calls(call, of.vectors, variant)

    for of in _batches(link):
        for name, form in torch_forms(method).items():
            yield partial(make, form, of, f"{name}, {of.num_channels} channels")


def sionna_lmmse(link: Link) -> Variants:
    """Sionna's LMMSE: `lmmse_equalizer` with H repeated for each vector, or `lmmse_matrix` once per channel."""
    mimo, equalization = sionna_module("mimo"), sionna_module("mimo.equalization")
    torch = importlib.import_module("torch")

    def repeated(of: Link) -> Callable[[], object]:
        h, y, s = _sionna_arguments(of)
        return lambda: mimo.lmmse_equalizer(y, h, s, whiten_interference=False)

    def shared(of: Link) -> Callable[[], object]:
        h, y = torch.from_numpy(of.h), torch.from_numpy(of.y.swapaxes(-1, -2).copy())
        s = (of.noise_var * torch.eye(of.num_rx, dtype=torch.complex64)).expand(of.num_channels, -1, -1)

        def call() -> object:
            g = equalization.lmmse_matrix(h, s)
            return (g @ y) / (g @ h).diagonal(dim1=-2, dim2=-1)[..., None]

        return call

    def make(form: Callable[[Link], Callable[[], object]], of: Link, variant: str) -> Timed:
        return calls(_without_gradients(form(of)), of.vectors, variant)

    for of in _batches(link):
        for name, form in (("H repeated", repeated), ("lmmse_matrix", shared)):
            variant = f"{name}, {of.num_channels} channels"
            yield partial(make, form, of, variant)


def sionna_detector(name: str, link: Link) -> Variants:
    """One of Sionna's non-linear detectors, to LLRs; H is repeated for each vector, as they have no other form."""
    mimo = sionna_module("mimo")

    def make(of: Link) -> Timed:
        options = {"num_bits_per_symbol": BITS, "device": CPU}
        detector = PEERS[name].make(mimo, of.num_tx, False, options)
        h, y, s = _sionna_arguments(of)
        return calls(_without_gradients(lambda: detector(y, h, s)), of.vectors, f"{of.vectors} vectors per call")

    for of in _batches(dataclasses.replace(link, num_channels=max(1, VECTORS_PER_CALL[-1] // link.num_vectors))):
        yield partial(make, of)


def _without_gradients(call: Callable[[], object]) -> Callable[[], object]:
    torch = importlib.import_module("torch")

    def run() -> None:
        # K-best's LLRs would be compiled otherwise, which takes longer than a short run
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            call()

    return run


def _sionna_arguments(of: Link) -> tuple[Any, Any, Any]:
    torch = importlib.import_module("torch")
    h = torch.from_numpy(of.h).repeat_interleave(of.num_vectors, dim=0)
    y = torch.from_numpy(of.y.reshape(-1, of.num_rx))
    covariance = of.noise_var * torch.eye(of.num_rx, dtype=torch.complex64)
    return h, y, covariance.expand(len(y), -1, -1)
