"""A block's torch module as an ONNX model, node for node, without tracing.

Tracing takes longer than timing a small block. Only the ops that the timed families use are here; the
tests compare the outputs with torch's. Whole networks are timed as `zoo export` writes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from zoo import graph as g
from zoo.errors import ZooError
from zoo.graph import Layer, Shape
from zoo.network import Network
from zoo.op_modules import averaging

OPSET = 13
IR_VERSION = 8


@dataclass
class _Writer:
    """Nodes and constants so far, and the values of the module's parameters by name."""

    state: Mapping[str, NDArray[np.float32]]
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, op: str, inputs: Sequence[str], output: str, **settings: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], **settings))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def parameter(self, layer: Layer, name: str) -> str:
        return self.constant(f"{layer.name}.{name}", self.state[f"{layer.name}.{name}"])

    def weights(self, layer: Layer, bias: bool) -> list[str]:
        return [self.parameter(layer, name) for name in ("weight", "bias")[: 1 + bias]]


_Rule = Callable[[_Writer, Layer], Any]


def model_of(network: Network) -> bytes:
    """The network for a batch of any size. Raises ZooError, naming layer and op, for an op without a rule."""
    writer = _Writer({name: value.detach().cpu().numpy() for name, value in network.state_dict().items()})
    graph = network.graph
    shapes = {layer.name: layer.out_shape for layer in graph.layers}
    for layer in graph.layers:
        if isinstance(layer.op, g.Input):
            continue
        rule = RULES.get(type(layer.op))
        if rule is None:
            raise ZooError(f"{layer.name}: op {layer.kind} cannot be timed with onnxruntime; use --backend torch")
        rule(writer, layer)
    entries = [layer.name for layer in graph.layers if isinstance(layer.op, g.Input)]
    onnx_graph = helper.make_graph(
        writer.nodes,
        "block",
        [_value(name, shapes[name]) for name in entries],
        [_value(name, shapes[name]) for name in graph.outputs],
        writer.constants,
    )
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    onnx.checker.check_model(data)
    return data


def _value(name: str, shape: Shape) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", shape.channels, shape.height, shape.width])


def _conv(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    w.add(
        "Conv",
        [*layer.inputs, *w.weights(layer, op.bias)],
        layer.name,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=[*op.padding, *op.padding],
        dilations=op.dilation,
        group=op.groups,
    )


def _transposed(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    w.add(
        "ConvTranspose",
        [*layer.inputs, *w.weights(layer, op.bias)],
        layer.name,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=[*op.padding, *op.padding],
        output_padding=op.output_padding,
        group=op.groups,
    )


def _linear(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    flat = w.add("Flatten", layer.inputs, f"{layer.name}.flat", axis=1)
    out = w.add("Gemm", [flat, *w.weights(layer, op.bias)], f"{layer.name}.out", transB=1)
    axes = w.constant(f"{layer.name}.axes", np.array([2, 3]))
    w.add("Unsqueeze", [out, axes], layer.name)


def _norm(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    values = [w.parameter(layer, name) for name in ("weight", "bias", "running_mean", "running_var")]
    w.add("BatchNormalization", [*layer.inputs, *values], layer.name, epsilon=op.eps)


def _prelu(w: _Writer, layer: Layer) -> None:
    slope = w.constant(f"{layer.name}.slope", w.state[f"{layer.name}.weight"][:, None, None])
    w.add("PRelu", [*layer.inputs, slope], layer.name)


def _plain(op: str, **settings: Any) -> _Rule:
    return lambda w, layer: w.add(op, layer.inputs, layer.name, **settings)


def _add(w: _Writer, layer: Layer) -> None:
    total, *addends = layer.inputs
    for i, addend in enumerate(addends):
        total = w.add("Add", [total, addend], layer.name if i == len(addends) - 1 else f"{layer.name}.{i}")


def _pool(op_name: str, **settings: Any) -> _Rule:
    def rule(w: _Writer, layer: Layer) -> None:
        op: Any = layer.op
        extra = settings | ({"ceil_mode": int(op.ceil)} if isinstance(op, g.MaxPool) else {})
        pads = [*op.padding, *op.padding]
        w.add(op_name, layer.inputs, layer.name, kernel_shape=op.kernel, strides=op.stride, pads=pads, **extra)

    return rule


def _adaptive(w: _Writer, layer: Layer) -> None:
    x, out = layer.in_shapes[0], layer.out_shape
    if (out.height, out.width) == (1, 1):
        w.add("GlobalAveragePool", layer.inputs[:1], layer.name)
        return
    # As zoo export has it: the averages over an axis are one product.
    like = torch.empty(0)
    rows = w.constant(f"{layer.name}.rows", averaging(x.height, out.height, like).numpy())
    columns = w.constant(f"{layer.name}.columns", averaging(x.width, out.width, like).numpy().T)
    down = w.add("MatMul", [rows, layer.inputs[0]], f"{layer.name}.down")
    w.add("MatMul", [down, columns], layer.name)


def _shuffle(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    x = layer.in_shapes[0]
    grouped_shape = [0, op.groups, x.channels // op.groups, x.height, x.width]
    split = w.add("Reshape", [*layer.inputs, _ints(w, layer, "split", grouped_shape)], f"{layer.name}.apart")
    turned = w.add("Transpose", [split], f"{layer.name}.turned", perm=[0, 2, 1, 3, 4])
    w.add("Reshape", [turned, _ints(w, layer, "join", [0, x.channels, x.height, x.width])], layer.name)


def _select(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    w.add("Gather", [*layer.inputs, _ints(w, layer, "channels", op.channels)], layer.name, axis=1)


def _pad(w: _Writer, layer: Layer) -> None:
    extra_channels = layer.out_shape.channels - layer.in_shapes[0].channels
    w.add("Pad", [*layer.inputs, _ints(w, layer, "pads", [0, 0, 0, 0, 0, extra_channels, 0, 0])], layer.name)


def _complement(w: _Writer, layer: Layer) -> None:
    w.add("Sub", [w.constant(f"{layer.name}.one", np.float32(1).reshape(())), *layer.inputs], layer.name)


def _slice(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    ends = (_ints(w, layer, name, [value]) for name, value in (("start", op.start), ("stop", op.stop), ("axis", 1)))
    w.add("Slice", [*layer.inputs, *ends], layer.name)


def _reduce(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    if op.mode == "mean":
        w.add("ReduceMean", layer.inputs, layer.name, axes=[1], keepdims=1)
    else:
        w.add("ReduceSum", [*layer.inputs, _ints(w, layer, "axis", [1])], layer.name, keepdims=1)


def _resize(w: _Writer, layer: Layer) -> None:
    op: Any = layer.op
    x, out = layer.in_shapes[0], layer.out_shape
    scale = np.array([1.0, 1.0, out.height / x.height, out.width / x.width], dtype=np.float32)
    if op.mode == "bilinear":
        coordinate_mode = "align_corners" if op.align_corners else "half_pixel"
        settings = {"mode": "linear", "coordinate_transformation_mode": coordinate_mode}
    else:
        settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    w.add("Resize", [layer.inputs[0], "", w.constant(f"{layer.name}.scale", scale)], layer.name, **settings)


def _ints(w: _Writer, layer: Layer, name: str, values: Sequence[int]) -> str:
    return w.constant(f"{layer.name}.{name}", np.array(values, dtype=np.int64))


RULES: Mapping[type[Any], _Rule] = {
    g.Conv: _conv,
    g.ConvTranspose: _transposed,
    g.Linear: _linear,
    g.BatchNorm: _norm,
    g.PReLU: _prelu,
    g.ReLU: _plain("Relu"),
    g.ELU: _plain("Elu"),
    g.Sigmoid: _plain("Sigmoid"),
    g.Complement: _complement,
    g.Dropout: _plain("Identity"),
    g.Add: _add,
    g.Multiply: _plain("Mul"),
    g.Concat: _plain("Concat", axis=1),
    g.AvgPool: _pool("AveragePool", count_include_pad=1),
    g.MaxPool: _pool("MaxPool"),
    g.AdaptiveAvgPool: _adaptive,
    g.ChannelShuffle: _shuffle,
    g.PadChannels: _pad,
    g.SelectChannels: _select,
    g.SliceChannels: _slice,
    g.ReduceChannels: _reduce,
    g.Resize: _resize,
}
"""How each op is written."""
