"""Makes the streaming wake network out of openWakeWord's mel and embedding models: 80 ms in, one embedding out.

openWakeWord computes each embedding anew from the last 76 mel frames. Its convolutions are not padded along time, and its
poolings divide time by 8, which is just the hop: so of each hop only its own 8 mel frames are new, and what a convolution
needs of the past are the 2 frames of its input before them. Here these are its memory, an input and an output of the graph;
everything else stays as it is, and so do the results.

    python -m device.hearing.wake.graph FILE

Needs the package `onnx`, which `streaming` does without. Run by install.sh, and by `streaming` where the file is missing.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from device.hearing.models import bundled
from device.hearing.wake.engine import BANDS, CONTEXT, FEATURES, STEP_SAMPLES

OPSET, IR = 13, 7
"""Those of the models in the wheel."""
HOP = 160
MELS = STEP_SAMPLES // HOP


class _Graph:
    """A graph that grows at its end."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node at the end; returns `output`."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: object, kind: type = np.float32) -> str:
        self.constants[name] = numpy_helper.from_array(np.array(value, kind), name)
        return name

    def remember(self, name: str, shape: list[int | str]) -> str:
        """An input of that name, which is to be what the output `new_{name}` of the last run was."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.outputs.append(helper.make_tensor_value_info(f"new_{name}", TensorProto.FLOAT, shape))
        return name

    def slice(self, source: str, start: int, end: int, axis: int, output: str) -> str:
        limits = [self.constant(f"{output}_{at}", [value], np.int64) for at, value in (("from", start), ("to", end))]
        return self.add("Slice", [source, *limits, self.constant(f"axis_{axis}", [axis], np.int64)], output)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "wake", self.inputs, self.outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model, full_check=True)
        return model


def streaming_graph() -> onnx.ModelProto:
    """Input `sound` [1, 1, 1760], and memory: each input NAME is to be given the output `new_NAME` of the run before.

    The memory `features` [1, n, 96] holds the last n embeddings, with any n.
    """
    graph = _Graph()
    graph.inputs.append(helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, 1, CONTEXT + STEP_SAMPLES]))
    _add_feature(graph, _add_embedding(graph, _add_mel(graph)))
    return graph.model()


def _weights(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def _add_mel(graph: _Graph) -> str:
    """The mel spectrogram of the sound, [1, 1, 8, 32].

    The model's Fourier transform is a convolution with 512 taps, the last of them zero, for 257 frequencies, of which the mel
    bands use less than half. What is multiplied by zero is left out, where that leaves every sum the same to the last bit:
    without the first taps, which are zero as well, sums are formed in another order.
    """
    weights = _weights(onnx.load(bundled("melspectrogram.onnx")).graph)
    bands = weights["1.melW"]
    used = np.flatnonzero(bands.any(axis=1))
    lowest, end = used[0], used[-1] + 1
    fourier = np.concatenate([weights[f"0.stft.conv_{part}.weight"][lowest:end] for part in ("real", "imag")])
    taps = int(np.flatnonzero(fourier.any(axis=(0, 1)))[-1]) + 1
    graph.slice("sound", 0, taps + (MELS - 1) * HOP, 2, "heard")
    graph.add("Conv", ["heard", graph.constant("fourier", fourier[:, :, :taps])], "parts", strides=[HOP])
    graph.add("Mul", ["parts", "parts"], "squares")
    graph.nodes.append(helper.make_node("Split", ["squares"], ["real", "imag"], axis=1))
    graph.add("Transpose", [graph.add("Add", ["real", "imag"], "sums")], "spectrum", perm=[0, 2, 1])
    graph.add("MatMul", ["spectrum", graph.constant("bands", bands[lowest:end])], "power")
    # From here on each operation as in the model, in its order. Its floor is 80 dB below the loudest of the 8 frames.
    ten, ln10 = graph.constant("ten", 10), graph.constant("ln10", 2.3025851)
    audible = graph.add("Clip", ["power", graph.constant("faintest", 1e-10)], "audible")
    decibels = graph.add(
        "Div", [graph.add("Mul", [graph.add("Log", [audible], "log"), ten], "log10"), ln10], "decibels"
    )
    loudest = graph.add("ReduceMax", [decibels], "loudest", keepdims=0)
    floor = graph.add("Sub", [loudest, graph.constant("range", 80)], "floor")
    graph.add("Max", [decibels, floor], "mel")
    graph.add("Div", ["mel", ten], "tenth")  # and from here on what openWakeWord does between its models
    graph.add("Add", ["tenth", graph.constant("two", 2)], "scaled")
    return graph.add("Unsqueeze", ["scaled", graph.constant("channel", [1], np.int64)], "new_mels")


def _add_embedding(graph: _Graph, mels: str) -> str:
    """The model's own nodes, each convolution over time with a memory."""
    model = onnx.load(bundled("embedding_model.onnx")).graph
    weights = _weights(model)
    at: dict[str, str] = {}
    """The outputs that changed their names."""
    bands, memories = BANDS, 0
    for node in model.node:
        source = at.get(node.input[0], node.input[0])
        if node.op_type == "Reshape":  # in front from [76, 32] to an image, at the end to [1, 96]
            at[node.output[0]] = mels if node.input[0] == model.input[0].name else source
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[0] = source
        if node.op_type == "Conv" and (shape := weights[node.input[1]].shape)[2] > 1:
            memory = graph.remember(f"memory{memories}", [1, shape[1], shape[2] - 1, bands])
            memories += 1
            copy.input[0] = graph.add("Concat", [memory, source], f"with_{memory}", axis=2)
            graph.slice(copy.input[0], 1 - shape[2], sys.maxsize, 2, f"new_{memory}")
        if node.op_type == "MaxPool":
            bands //= next(one.ints[1] for one in node.attribute if one.name == "strides")
        graph.nodes.append(copy)
        for name in copy.input[1:]:
            graph.constant(name, weights[name])
    return at[model.output[0].name]


def _add_feature(graph: _Graph, embedding: str) -> None:
    """The new embedding behind the old ones."""
    graph.remember("features", [1, "n", FEATURES])
    shape = graph.constant("one_feature", [1, 1, FEATURES], np.int64)
    newest = graph.add("Reshape", [embedding, shape], "feature")
    older = graph.slice("features", 1, sys.maxsize, 1, "older")
    graph.add("Concat", [older, newest], "new_features", axis=1)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(streaming_graph().SerializeToString())
