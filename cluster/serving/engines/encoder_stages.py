"""Cuts an encoder into stages that run one after the other, so that it can rest between two of them.

It may be cut wherever one value is all that the rest needs of the costly work before: behind each attention and each
feed-forward part of a BERT. What is cheap, as the mask, each stage makes anew. Knows no request and no device.
"""

import itertools
from collections.abc import Iterator

import openvino as ov
from openvino import opset13 as ops

CARRIED = "carried"
"""The name of the input through which a stage takes what the one before gives; the first has none."""


def in_stages(model: ov.Model) -> list[ov.Model]:
    """Return stages that give together what `model` gives; one, where it cannot be cut. Its output is the last's."""
    names = [None, *_cuts(model), None]
    return [_stage(model, begin, end) for begin, end in itertools.pairwise(names)]


def _stage(model: ov.Model, begin: str | None, end: str | None) -> ov.Model:
    """Return what `model` does behind the value named `begin`, up to that named `end`; None: from or to its ends."""
    part = model.clone()
    nodes = {node.get_friendly_name(): node for node in part.get_ordered_ops()}
    inputs = list(part.get_parameters())
    if begin is not None:
        value = nodes[begin].output(0)
        carried = ops.parameter(value.get_partial_shape(), value.get_element_type(), CARRIED)
        carried.output(0).set_names({CARRIED})
        for target in value.get_target_inputs():
            target.replace_source_output(carried.output(0))
        inputs.append(carried)
    output = part.output(0).get_node().input_value(0) if end is None else nodes[end].output(0)
    needed = set(_names_behind(output))
    return ov.Model([output], [each for each in inputs if each.get_friendly_name() in needed], part.get_friendly_name())


def _names_behind(output: "ov.Output") -> Iterator[str]:
    """Give the names of all nodes that `output` is made of."""
    seen, left = set[str](), [output.get_node()]
    while left:
        node = left.pop()
        if (name := node.get_friendly_name()) not in seen:
            seen.add(name)
            yield name
            left += [value.get_node() for value in node.input_values()]


def _cuts(model: ov.Model) -> list[str]:
    """Return the names of the nodes behind which `model` is cut, in order, with a matrix product before each."""
    nodes = model.get_ordered_ops()
    costly = _costly(nodes)
    last_use = {
        value.get_node().get_friendly_name(): number
        for number, node in enumerate(nodes)
        for value in node.input_values()
        if value.get_node().get_friendly_name() in costly
    }
    cuts, live, has_worked = list[str](), set[str](), False
    for number, node in enumerate(nodes):
        name = node.get_friendly_name()
        has_worked |= node.get_type_name() == "MatMul"
        live = {each for each in live | ({name} & last_use.keys()) if last_use[each] > number}
        if live == {name} and has_worked and _is_joint(node):
            cuts.append(name)
            has_worked = False
    return cuts


def _is_joint(node: "ov.Node") -> bool:
    """Say whether a layer ends with `node`: the next one both works on its value and adds to it."""
    return node.get_output_size() == 1 and len(node.output(0).get_target_inputs()) > 1


def _costly(nodes: "list[ov.Node]") -> set[str]:
    """Return the names of the nodes whose values take a matrix product, or a look into a table of floats, to make."""
    costly = set[str]()
    for node in nodes:
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        if _is_heavy(node) or not costly.isdisjoint(sources):
            costly.add(node.get_friendly_name())
    return costly


def _is_heavy(node: "ov.Node") -> bool:
    kind: str = node.get_type_name()
    if kind != "Gather":
        return kind == "MatMul"
    table = node.input_value(0)
    return bool(table.get_element_type().is_real()) and len(table.get_partial_shape()) == 2
