# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks in GNU Radio Companion: a flowgraph of all four compiles and runs, with variables for its parameters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import gr_kaq
from gr_kaq.estimation.estimator import INTERPOLATORS
from gr_kaq.estimation.learned import list_estimators

GRC_BLOCKS = Path(__file__).resolve().parents[2] / "grc"
STATES = {"bus_sink": False, "bus_source": False, "bus_structure": None, "coordinate": [0, 0], "rotation": 0}


def block(name, kind, **parameters):
    values = {key: str(value) for key, value in parameters.items()}
    return {"name": name, "id": kind, "parameters": values, "states": STATES | {"state": "enabled"}}


def flowgraph(**variables):
    """A link of all four blocks; every size and name is a variable, as users write it."""
    variables = {
        "streams": 2,
        "subcarriers": 4,
        "mapping": "'qpsk'",
        "model": "'lmmse'",
        "snr": 25,
        "age": 14,
    } | variables
    size = {"num_tx": "streams", "num_subcarriers": "subcarriers"}
    options = {"id": "small", "generate_options": "no_gui", "run_options": "run", "title": "small"}
    connect = [(0, 0, "source", "channel"), (1, 1, "source", "channel")]
    connect += [(i, i, "channel", "detector") for i in range(3)]
    connect += [
        (0, 0, "detector", "hard"),
        (1, 1, "detector", "hard"),
        (2, 0, "detector", "soft"),
        (3, 1, "detector", "soft"),
    ]
    return {
        "options": {"parameters": options, "states": STATES | {"state": "enabled"}},
        "blocks": [block(name, "variable", value=value) for name, value in variables.items()]
        + [
            block("source", "kaq_qam_source", **size, constellation="mapping", num_items=1000),
            block(
                "channel",
                "kaq_channel_simulator",
                **size,
                num_rx=3,
                snr_db="snr",
                channel="kronecker",
                rx_correlation=0.3,
            ),
            block(
                "detector",
                "kaq_detector",
                **size,
                num_rx=3,
                model="model",
                constellation="mapping",
                output_llrs="True",
                max_csi_age="age",
            ),
            block("hard", "kaq_ber_meter", **size, constellation="mapping"),
            block("soft", "kaq_ber_meter", **size, constellation="mapping", input="llrs"),
            block("store", "blocks_message_debug"),
        ],
        "connections": [[a, str(i), b, str(j)] for i, j, a, b in connect]
        + [["hard", "ber", "store", "store"], ["detector", "stats", "store", "store"]],
        "metadata": {"file_format": 1},
    }


def compile_grc(directory, document):
    environment = os.environ | {
        "GRC_BLOCKS_PATH": str(GRC_BLOCKS),
        "PYTHONPATH": str(Path(gr_kaq.__file__).parents[1]),
        "HOME": str(directory),  # GRC writes a cache there
    }
    (directory / "small.grc").write_text(yaml.safe_dump(document))
    command = ["grcc", "-o", str(directory), str(directory / "small.grc")]
    compiled = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return compiled, environment


def run_python(folder, code, environment):
    """Run a program beside the compiled flowgraph."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_compiles_and_runs(tmp_path):
    compiled, environment = compile_grc(tmp_path, flowgraph())
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    code = (
        "import small; tb = small.small(); tb.run(); tb.set_snr(10.0); tb.set_model('zf'); tb.set_age(3)\n"
        "tb.set_model('nope')  # must not raise: PyQt5 ends a program whose slot raises\n"
        "print(tb.hard.bits(), tb.soft.bits(), tb.channel.snr_db(), tb.detector.model_name(), tb.hard.ber() < 0.01)"
    )
    ran = run_python(tmp_path, code, environment)
    assert ran.stdout.endswith("\n16000 16000 10.0 zf True\n"), ran.stdout + ran.stderr
    assert "model rejected" in ran.stdout


def test_vector_ports_compile_and_run(tmp_path):
    """Each of the three ports has the length that the blocks around it have, from the same variables."""
    document = flowgraph()
    next(of for of in document["blocks"] if of["name"] == "detector")["parameters"]["vector_ports"] = "True"
    document["blocks"] += [
        block("join", "blocks_streams_to_vector", num_streams=3, vlen="subcarriers"),
        block("split", "blocks_vector_to_streams", num_streams="streams", vlen="subcarriers"),
        block("split_llrs", "blocks_vector_to_streams", num_streams="streams", vlen="2 * subcarriers", type="float"),
    ]
    connect = [("source", i, "channel", i) for i in range(2)] + [("channel", i, "join", i) for i in range(3)]
    connect += [("join", 0, "detector", 0), ("detector", 0, "split", 0), ("detector", 1, "split_llrs", 0)]
    connect += [(of, i, to, i) for of, to in (("split", "hard"), ("split_llrs", "soft")) for i in range(2)]
    document["connections"] = [[a, str(i), b, str(j)] for a, i, b, j in connect] + [["hard", "ber", "store", "store"]]
    compiled, environment = compile_grc(tmp_path, document)
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    code = (
        "import small; tb = small.small(); tb.run(); print(tb.hard.ber() < 0.01, tb.soft.bits(), tb.soft.ber() < 0.01)"
    )
    ran = run_python(tmp_path, code, environment)
    assert ran.stdout.endswith("True 16000 True\n"), ran.stdout + ran.stderr


@pytest.mark.parametrize("wrong", [{"streams": 0}, {"mapping": "'8psk'"}, {"snr": 1000}, {"age": -1}])
def test_wrong_parameters_do_not_compile(tmp_path, wrong):
    """GRC shows the assert at the block; without one the error would come when the flowgraph runs."""
    compiled, _ = compile_grc(tmp_path, flowgraph(**wrong))
    assert compiled.returncode != 0


@pytest.mark.parametrize("path", sorted(GRC_BLOCKS.glob("kaq_*.block.yml")), ids=lambda path: path.stem)
def test_every_parameter_reaches_the_block(path):
    """Each is used by the template; each setter that a block has is called back; and each block is documented."""
    document = yaml.safe_load(path.read_text())
    name = document["id"].removeprefix("kaq_")
    made = document["templates"]["make"]
    assert made.startswith(f"gr_kaq.{name}(")
    for parameter in document["parameters"]:
        assert "${" + parameter["id"] + ("()" if parameter["dtype"] == "gui_hint" else "}") in made
        assert parameter["dtype"] != "enum"  # GRC would replace a variable by the default
    setters = {attribute for attribute in vars(getattr(gr_kaq, name)) if attribute.startswith("set_")}
    called = {callback.split("(")[0] for callback in document["templates"].get("callbacks", [])}
    # a name typed into a running flowgraph may be none: the handler of messages says so where set_model raises
    assert {name.replace("handle_", "set_") for name in called} == setters
    assert "Outputs" in document["documentation"] or "ber (message" in document["documentation"]
    assert document["asserts"] and document["file_format"] == 1


@pytest.mark.parametrize(
    ("name", "parameter", "names"),
    [
        ("kaq_detector", "model", gr_kaq.list_detectors()),
        ("kaq_mimo_receiver", "detector", gr_kaq.list_detectors()),
        ("kaq_mimo_receiver", "estimator", [*INTERPOLATORS, *list_estimators()]),
        ("kaq_channel_estimator", "method", [*INTERPOLATORS, *list_estimators()]),
    ],
)
def test_choosers_offer_all_there_is(name, parameter, names):
    document = yaml.safe_load((GRC_BLOCKS / f"{name}.block.yml").read_text())
    (options,) = (p["options"] for p in document["parameters"] if p["id"] == parameter)
    assert options == names


@pytest.mark.parametrize(
    ("model", "is_right"),
    [("admm5-qpsk", True), ("auto", True), ("zf", True), ("my/own.kaq.json", True), ("admm5-16qam", False)],
)
def test_a_detector_for_another_constellation_is_marked(tmp_path, model, is_right):
    """In GNU Radio Companion the block turns red, before anything runs."""
    path = tmp_path / "small.grc"
    path.write_text(yaml.safe_dump(flowgraph(model=repr(model))))
    environment = os.environ | {"GRC_BLOCKS_PATH": str(GRC_BLOCKS)}
    done = subprocess.run(
        ["grcc", "-o", tmp_path, path], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (tmp_path / "small.py").exists() == is_right, done.stderr
    assert is_right or "'-' + constellation in model" in done.stdout + done.stderr
