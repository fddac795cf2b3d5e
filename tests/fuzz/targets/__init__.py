# SPDX-License-Identifier: GPL-3.0-or-later
"""Every block that is fuzzed."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets.beams import Combiner, Driver, Search, View
from tests.fuzz.targets.files import FileSink, FileSource
from tests.fuzz.targets.frames import (
    DataAidedDecoder,
    Decoder,
    Estimator,
    Explainer,
    Link,
    Publisher,
    Receiver,
    Recorder,
    Status,
    Synchronizer,
    Transmitter,
)
from tests.fuzz.targets.peers import Consumer, SampleSink, SampleSource
from tests.fuzz.targets.symbols import BandNoise, BerMeter, Detector, Predictor, QamSource, Simulator
from tests.fuzz.targets.transport import Adapter, ArqReceiver, ArqSender, LinkDecoder

__all__ = ["TARGETS"]

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        Detector,
        Predictor,
        Synchronizer,
        Estimator,
        Decoder,
        DataAidedDecoder,
        Transmitter,
        Publisher,
        Receiver,
        Link,
        Simulator,
        BandNoise,
        QamSource,
        BerMeter,
        Explainer,
        Recorder,
        Status,
        Search,
        Combiner,
        Driver,
        View,
        ArqSender,
        ArqReceiver,
        Adapter,
        LinkDecoder,
        FileSink,
        FileSource,
        SampleSource,
        SampleSink,
        Consumer,
    )
}
