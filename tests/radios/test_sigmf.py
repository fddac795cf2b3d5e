# SPDX-License-Identifier: GPL-3.0-or-later
"""SigMF recordings of several antennas: what is written is read, and what cannot be used is named."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.radios.sigmf import DATATYPES, FULL_SCALE, RecordingError, RecordingWriter, open_recording


def noise(num_channels, count, seed=1):
    parts = np.random.default_rng(seed).uniform(-1, 1, (2, num_channels, count))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def record(path, samples, **options):
    with RecordingWriter(path, len(samples), 2e6, 2.4e9, **options) as writer:
        writer.write(samples)


@pytest.fixture
def path(tmp_path):
    """A good recording of three antennas."""
    record(tmp_path / "r", noise(3, 50))
    return tmp_path / "r"


def change(path, text=None, **changes):
    """Write other metadata: `text`, or changed keys (a dot in a name is __; None takes the key away)."""
    meta = path.with_name("r.sigmf-meta")
    if text is None:
        document = json.loads(meta.read_text())
        for name, value in changes.items():
            *parents, last = name.replace("core_", "core:").split("__")
            inner = document
            for parent in parents:
                inner = inner[int(parent) if parent.isdigit() else parent]
            inner[last] = value
            if value is None:
                del inner[last]
        text = json.dumps(document)
    meta.write_text(text)


@given(
    channels=st.integers(1, 5), lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4), seed=st.integers(0, 99)
)
@settings(max_examples=30)
def test_what_is_written_is_read(tmp_path_factory, channels, lengths, seed):
    """In any pieces, all antennas, from any sample on."""
    path = tmp_path_factory.mktemp("recording") / "r"
    samples = noise(channels, sum(lengths) + 1, seed)
    with RecordingWriter(path, channels, 2e6, 2.4e9) as writer:
        for piece in np.split(samples, np.cumsum(lengths), axis=1):
            writer.write(piece)
    assert writer.num_samples == samples.shape[1]
    recording = open_recording(path, channels)
    assert (recording.num_channels, recording.num_samples) == samples.shape
    assert (recording.sample_rate, recording.frequency) == (2e6, 2.4e9)
    assert np.array_equal(recording.read(), samples)
    assert np.array_equal(recording.read(lengths[0], 7), samples[:, lengths[0] : lengths[0] + 7])
    assert recording.read(samples.shape[1] + 3).shape == (channels, 0)


def test_integers_are_fractions_of_full_scale(tmp_path):
    samples = noise(2, 100)
    samples[0, 0] = 3 - 3j  # clipped
    samples[1, 1] = np.nan  # nothing an integer can be
    record(tmp_path / "r", samples, datatype="ci16_le")
    assert (tmp_path / "r.sigmf-data").stat().st_size == 2 * 2 * 2 * 100
    read = open_recording(tmp_path / "r").read()
    assert read[0, 0] == np.complex64(32767 / 32768 - 1j) and read[1, 1] == 0
    samples[0, 0], samples[1, 1] = read[0, 0], read[1, 1]
    assert np.abs(read - samples).max() < 2**-15


def test_the_layout_is_that_of_the_standard(path):
    """Other programs read it: channels alternate, parts are little-endian floats, and the keys are SigMF's."""
    parts = np.fromfile(path.with_name("r.sigmf-data"), "<f4").reshape(50, 3, 2)
    assert np.array_equal(parts[..., 0] + 1j * parts[..., 1], noise(3, 50).T)
    document = json.loads(path.with_name("r.sigmf-meta").read_text())
    known = document["global"]
    assert (known["core:datatype"], known["core:num_channels"], known["core:sample_rate"]) == ("cf32_le", 3, 2e6)
    assert document["captures"][0]["core:frequency"] == 2.4e9 and document["annotations"] == []


@pytest.mark.parametrize("name", ["r", "r.sigmf-meta", "r.sigmf-data"])
def test_either_file_names_the_recording(path, name):
    assert open_recording(path.with_name(name), 2).num_channels == 3


def test_a_recording_that_was_interrupted_can_be_read(tmp_path):
    """The metadata is there from the start."""
    writer = RecordingWriter(tmp_path / "r", 2, 1e6)
    writer.write(noise(2, 4000))
    os.sync()
    assert open_recording(tmp_path / "r").num_channels == 2
    writer.close()


def test_what_other_programs_write(path):
    """Unknown keys, no frequency, a rate without a decimal point, one channel where none are said."""
    change(path, captures=[], global__core_sample_rate=1000000, global__core_num_channels=None, more={"x": 1})
    recording = open_recording(path)
    assert (recording.num_channels, recording.frequency, recording.sample_rate) == (1, None, 1e6)
    assert recording.num_samples == 150


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"global__core_datatype": "rf32_le"},
            "core:datatype is 'rf32_le'; one of cf32_le, cf32_be, ci16_le, ci16_be, ci8 expected",
        ),
        ({"global__core_datatype": None}, "core:datatype is missing"),
        ({"global__core_datatype": ["cf32_le"]}, "core:datatype"),
        ({"global__core_num_channels": 2}, "core:num_channels is 2; at least 3 expected"),
        ({"global__core_num_channels": 0}, "core:num_channels is 0"),
        ({"global__core_num_channels": "3"}, "core:num_channels is '3'"),
        ({"global__core_num_channels": 10**30}, "core:num_channels"),
        ({"global__core_sample_rate": None}, "core:sample_rate is missing"),
        ({"global__core_sample_rate": 0}, "core:sample_rate is 0"),
        ({"global__core_sample_rate": -1.0}, "core:sample_rate"),
        ({"global__core_sample_rate": float("nan")}, "not valid JSON: NaN is not a number"),
        ({"global__core_sample_rate": 10**299}, "core:sample_rate"),
        ({"global__core_sample_rate": 10**400}, "not valid JSON: a whole number of 401 digits is out of range"),
        ({"global__core_sample_rate": True}, "core:sample_rate is True"),
        ({"global__core_version": "2.0.0"}, "core:version is '2.0.0'"),
        ({"global__core_version": None}, "core:version is missing"),
        ({"global__core_dataset": "../r.sigmf-data"}, "core:dataset is '../r.sigmf-data'"),
        ({"global__core_dataset": 3}, "core:dataset is 3"),
        ({"global__core_trailing_bytes": 4}, "core:trailing_bytes"),
        ({"captures__0__core_header_bytes": 4}, "core:header_bytes"),
        ({"captures__0__core_frequency": "2.4 GHz"}, "core:frequency is '2.4 GHz'"),
        ({"captures": None}, "captures is missing"),
        ({"captures": [1]}, "captures holds 1"),
        ({"global": []}, "global is"),
        ({"text": "[1]"}, "an object with global and captures"),
        ({"text": "{"}, "not valid JSON"),
        ({"text": "[" * 100_000}, "not valid JSON"),
        ({"text": "\udcff"}, "not valid JSON"),
    ],
)
def test_wrong_metadata_is_named(path, changes, named):
    if changes.get("text") == "\udcff":
        path.with_name("r.sigmf-meta").write_bytes(b"\xff\xfe")
    else:
        change(path, **changes)
    with pytest.raises(RecordingError) as raised:
        open_recording(path, 3)
    assert named in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("version", ["1.0.0", "v1.0.0", "1.2.6"])
def test_versions_that_exist(path, version):
    change(path, global__core_version=version)
    assert open_recording(path).num_channels == 3


def test_a_dataset_of_another_name(path):
    path.with_name("r.sigmf-data").rename(path.with_name("samples.bin"))
    change(path, global__core_dataset="samples.bin")
    assert open_recording(path).num_samples == 50


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_read_and_played(tmp_path, datatype):
    """Integers as fractions of full scale, in either order of bytes; by NumPy, and by GNU Radio."""
    gr, blocks = pytest.importorskip("gnuradio.gr"), pytest.importorskip("gnuradio.blocks")
    from gr_kaq.radios.recording import recording_source

    samples = np.clip(noise(3, 500) / 4, -0.99, 0.99)
    samples.real.clip(-0.9, 0.9, out=samples.real)
    samples.imag.clip(-0.9, 0.9, out=samples.imag)
    record(tmp_path / "r", samples)
    parts = np.ascontiguousarray(samples.T).view(np.float32) * FULL_SCALE[datatype]
    if DATATYPES[datatype].kind == "i":
        parts = np.rint(parts)
    parts.astype(DATATYPES[datatype]).tofile(tmp_path / "r.sigmf-data")
    change(tmp_path / "r", global__core_datatype=datatype)
    recording = open_recording(tmp_path / "r", 3)
    assert np.abs(recording.read() - samples).max() <= 1 / FULL_SCALE[datatype] * (datatype[1] == "i")
    assert np.array_equal(recording.read(7, 20), recording.read()[:, 7:27])
    top, sinks = gr.top_block(), [blocks.vector_sink_c() for _ in range(2)]
    source = recording_source(tmp_path / "r", 2)
    for port, sink in enumerate(sinks):
        top.connect((source, port), sink)
    top.run()
    np.testing.assert_allclose([sink.data() for sink in sinks], recording.read()[:2], atol=1e-7)


@pytest.fixture
def collection(tmp_path):
    """A file for each of three antennas, the last of which ends sooner."""
    samples = noise(3, 100)
    for antenna, count in enumerate((100, 100, 90)):
        record(tmp_path / f"antenna{antenna}", samples[antenna : antenna + 1, :count])
    document = {"core:version": "1.2.0", "core:streams": [{"name": f"antenna{a}", "hash": "0"} for a in range(3)]}
    (tmp_path / "c.sigmf-collection").write_text(json.dumps({"collection": document}))
    return tmp_path / "c.sigmf-collection", samples


@pytest.mark.parametrize("name", ["c", "c.sigmf-collection"])
def test_a_file_for_each_antenna(collection, name):
    gr, blocks = pytest.importorskip("gnuradio.gr"), pytest.importorskip("gnuradio.blocks")
    from gr_kaq.radios.recording import recording_source

    path, samples = collection
    recording = open_recording(path.with_name(name), 3)
    assert (recording.num_channels, recording.num_samples, recording.sample_rate) == (3, 90, 2e6)
    assert np.array_equal(recording.read(), samples[:, :90])
    assert np.array_equal(recording.read(80, 100), samples[:, 80:90])
    top, sinks = gr.top_block(), [blocks.vector_sink_c() for _ in range(2)]
    source = recording_source(path.with_name(name), 2)
    for port, sink in enumerate(sinks):
        top.connect((source, port), sink)
    top.run()
    assert all(np.array_equal(sink.data(), samples[port]) for port, sink in enumerate(sinks))


@pytest.mark.parametrize(
    ("streams", "named"),
    [
        (None, "core:streams is missing"),
        ([], "a list of 1 to"),
        ([{"name": "nothing"}], "nothing.sigmf-meta: cannot be read"),
        ([{"name": "../antenna0"}], "names of recordings beside it expected"),
        (["antenna0"], "names of recordings beside it expected"),
        ([{"name": "antenna0"}], "has 1 channels; 3 to 256 expected"),
        ([{"name": "antenna0"}, {"name": "slow"}], "slow has 10 samples per second"),
    ],
)
def test_wrong_collections_are_named(collection, streams, named):
    path, _ = collection
    with RecordingWriter(path.with_name("slow"), 1, 10.0) as writer:
        writer.write(noise(1, 5))
    path.write_text(json.dumps({"collection": {"core:version": "1.2.0", "core:streams": streams}}))
    with pytest.raises(RecordingError) as raised:
        open_recording(path, 3)
    assert named in str(raised.value)


def test_an_archive_is_to_be_unpacked(tmp_path):
    with pytest.raises(RecordingError, match="tar -xf"):
        open_recording(tmp_path / "r.sigmf")


@pytest.mark.parametrize("suffix", ["meta", "data"])
def test_a_missing_file_is_named(path, suffix):
    file = path.with_name(f"r.sigmf-{suffix}")
    file.unlink()
    with pytest.raises(RecordingError, match=f"sigmf-{suffix}: cannot be read: No such file"):
        open_recording(path)
    file.mkdir()
    with pytest.raises(RecordingError, match="not a regular file"):
        open_recording(path)


@pytest.mark.parametrize("size", [0, 1, 23])
def test_a_file_without_a_whole_sample_is_named(path, size):
    with path.with_name("r.sigmf-data").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(RecordingError, match=f"{size} bytes; at least 24, one cf32_le of 3 channels, expected"):
        open_recording(path)


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("datatype", ["cf32_le", "ci16_le"])
def test_a_recording_that_was_cut_off_is_read_up_to_its_last_whole_sample(tmp_path, channels, datatype):
    """A process that is killed, and a disk that is full, end a file at a multiple of 4096 bytes, not of a sample."""
    samples = noise(channels, 3000)
    record(tmp_path / "r", samples, datatype=datatype)
    whole = open_recording(tmp_path / "r")
    assert (whole.num_samples, whole.rest_bytes) == (3000, 0)
    with (tmp_path / "r.sigmf-data").open("r+b") as file:
        file.truncate(8192)
    cut = open_recording(tmp_path / "r")
    assert (cut.num_samples, cut.rest_bytes) == divmod(8192, whole.sample_bytes)
    assert np.array_equal(cut.read(), whole.read()[:, : cut.num_samples])


def test_a_file_that_shrinks_meanwhile_gives_what_is_left(path):
    recording = open_recording(path)
    with path.with_name("r.sigmf-data").open("r+b") as file:
        file.truncate(24 * 10 + 5)
    assert np.array_equal(recording.read(2), noise(3, 50)[:, 2:10])
    path.with_name("r.sigmf-data").unlink()
    with pytest.raises(RecordingError, match="cannot be read"):
        recording.read()


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        ((0, 1e6), {}, "num_channels is 0"),
        ((2, 0.0), {}, "sample_rate is 0"),
        ((2, np.inf), {}, "sample_rate is inf"),
        ((2, 1e6), {"datatype": "cf64_le"}, "datatype is 'cf64_le'"),
    ],
)
def test_arguments_out_of_range(tmp_path, arguments, options, named):
    with pytest.raises(ValueError, match=named):
        RecordingWriter(tmp_path / "r", *arguments, **options)
    assert not list(tmp_path.iterdir())


def test_samples_of_other_antennas_are_refused(tmp_path):
    with RecordingWriter(tmp_path / "r", 2, 1e6) as writer, pytest.raises(ValueError, match=r"\(2, n\) expected"):
        writer.write(noise(3, 10))
