# SPDX-License-Identifier: GPL-3.0-or-later
"""What channel_predictor is worth where estimates are rare: symbols of two users, one slow and one fast.

    PYTHONPATH=build/test_modules /usr/bin/python3 examples/ageing_channel.py

    samples, an estimate of the channel at every 8th item -> [channel_predictor] -> detector -> symbol errors

Both users send 16-QAM over fading channels to two antennas; an item is an OFDM symbol. The same samples are detected
twice: with the estimates alone, and with forecasts between them.
"""

import argparse

import numpy as np
import pmt
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.channels.users import User, UserDelayLine
from gr_kaq.signals.constellation import constellation_named

CARRIERS, SYMBOL_SECONDS = 48, 40e-6


def simulate(options):
    """Samples (antennas, items, carriers), symbols (users, items, carriers), and channels (items, carriers, 2, 2)."""
    rng = np.random.default_rng(options.seed)
    points = constellation_named("16qam").points
    line = UserDelayLine(2, [User(doppler) for doppler in options.doppler], seed=options.seed)
    h = line.frequency_response(SYMBOL_SECONDS * np.arange(options.items), 31.25e3 * np.arange(CARRIERS))
    sent = rng.choice(points, (2, options.items, CARRIERS))
    noise = rng.standard_normal((2, 2, options.items, CARRIERS)) * np.sqrt(options.noise_var / 2)
    return np.einsum("tfij,jtf->itf", h, sent) + noise[0] + 1j * noise[1], sent, h


def symbol_errors(options, samples, sent, h, predict):
    """Share of each user's symbols that are detected wrongly."""
    rng = np.random.default_rng(options.seed + 1)
    tags = []
    for item in range(0, options.items, options.every):
        errors = rng.standard_normal((2, *h.shape[1:])) * np.sqrt(options.noise_var / 4)
        value = channel_to_pmt((h[item] + errors[0] + 1j * errors[1]).astype(np.complex64), options.noise_var)
        tags.append(gr.tag_utils.python_to_tag((item, pmt.intern("mimo_channel"), value, pmt.PMT_F)))
    top = gr.top_block()
    detector = gr_kaq.detector("list16-16qam", 2, 2, CARRIERS)
    sinks = [blocks.vector_sink_c(CARRIERS) for _ in range(2)]
    sources = [
        blocks.vector_source_c(antenna.ravel().tolist(), False, CARRIERS, [] if place else tags)
        for place, antenna in enumerate(samples)
    ]
    if predict:
        predictor = gr_kaq.channel_predictor(2, 2, CARRIERS, reach=options.every - 1, history=32)
        top.connect(sources[0], predictor, (detector, 0))
    else:
        top.connect(sources[0], (detector, 0))
    top.connect(sources[1], (detector, 1))
    for user, sink in enumerate(sinks):
        top.connect((detector, user), sink)
    top.run()
    found = np.array([sink.data() for sink in sinks]).reshape(sent.shape)
    return np.mean(np.abs(found - sent) > 1e-3, axis=(1, 2))  # it decides on points


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1600, help="OFDM symbols")
    parser.add_argument("--every", type=int, default=8, help="items from one estimate to the next")
    parser.add_argument("--doppler", type=float, nargs=2, default=(20.0, 300.0), metavar="HZ", help="of the two users")
    parser.add_argument("--noise-var", type=float, default=2e-3, help="noise variance of an antenna")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    samples, sent, h = simulate(options)
    for predict in (False, True):
        slow, fast = symbol_errors(options, samples, sent, h, predict)
        print(f"{'with forecasts' if predict else 'estimates alone':<16} symbol errors {slow:.4f} and {fast:.4f}")


if __name__ == "__main__":
    main()
