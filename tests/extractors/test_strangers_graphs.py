"""Exported models of a stranger: a graph with other operators, other data or another interface than
vprtrain exports is refused before a runtime sees it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from limited import run_limited
from mutants import sign
from onnx import TensorProto, helper, numpy_helper
from small_checkpoint import voice, write_checkpoint

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.errors import CheckpointError
from vprtrain.extractors.exporting import export
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE
from vprtrain.extractors.onnx_graph import FURTHER as ONNX_FURTHER
from vprtrain.extractors.onnx_graph import OPERATORS, check_onnx_graph
from vprtrain.extractors.opening import open_extractor
from vprtrain.extractors.static import STATIC_WEIGHTS_FILE
from vprtrain.extractors.static_graph import check_static_graph
from vprtrain.extractors.static_operators import EXPORTED, FURTHER


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_checkpoint(folder / "epoch_1")
    export(open_checkpoint(folder / "epoch_1"), folder / "model")
    return folder / "model"


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def refusal(folder: Path, name: str) -> str:
    sign(folder)
    with pytest.raises(CheckpointError) as raised:
        open_extractor(folder / name, "cpu").embed([voice(0)])
    said = str(raised.value)
    assert "\n" not in said and str(folder) in said and len(said) < 700
    return said


def add_loop(graph: onnx.GraphProto) -> None:
    """A loop of 2^62 turns, whose body does nothing."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    graph.initializer.append(numpy_helper.from_array(np.int64(2**62), "turns"))
    graph.initializer.append(numpy_helper.from_array(np.bool_(True), "always"))
    graph.node.append(helper.make_node("Loop", ["turns", "always"], [], body=body))


def hide_loop(graph: onnx.GraphProto) -> None:
    """The same as an attribute of an operator that is allowed."""
    add_loop(graph)
    loop = graph.node.pop()
    graph.node[0].attribute.append(helper.make_attribute("body", loop.attribute[0].g))


def read_elsewhere(graph: onnx.GraphProto) -> None:
    """A weight whose data is in another file."""
    tensor = graph.initializer.add(name="weight", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")


def constant(graph: onnx.GraphProto) -> onnx.TensorProto:
    """The tensor of a node that takes the place of a weight."""
    weight = graph.initializer.pop()
    graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=weight))
    return graph.node[0].attribute[0].t


def read_elsewhere_as_constant(graph: onnx.GraphProto) -> None:
    tensor = constant(graph)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")


def name_domain(graph: onnx.GraphProto) -> None:
    graph.node[0].domain = "com.microsoft"


def output(name: str, kind: int, shape: list[Any]) -> Callable[[onnx.GraphProto], None]:
    def change(graph: onnx.GraphProto) -> None:
        graph.output[0].CopyFrom(helper.make_tensor_value_info(name, kind, shape))

    return change


def expand(graph: onnx.GraphProto) -> None:
    """Embeddings repeated to a shape that two constants say together."""
    graph.initializer.append(numpy_helper.from_array(np.int64([2**15]), "rows"))
    graph.initializer.append(numpy_helper.from_array(np.int64([2**15]), "columns"))
    graph.node.append(helper.make_node("Concat", ["rows", "columns"], ["shape"], axis=0))
    graph.initializer.append(numpy_helper.from_array(np.float32([[1.0]]), "one"))
    graph.node.append(helper.make_node("Expand", ["one", "shape"], ["huge"]))


def pad(graph: onnx.GraphProto) -> None:
    next(node for node in graph.node if node.op_type == "Conv").attribute.append(
        helper.make_attribute("pads", [0, 2**40])
    )


def cut_constant(graph: onnx.GraphProto) -> None:
    """A weight of more values than the file has."""
    constant(graph).dims[:] = [2**40]


def cut_weight(graph: onnx.GraphProto) -> None:
    graph.initializer[0].dims[:] = [2**40]


def second_output(graph: onnx.GraphProto) -> None:
    graph.output.append(
        helper.make_tensor_value_info(graph.node[0].output[0], TensorProto.FLOAT, None)
    )


def other_input(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("third", TensorProto.FLOAT, [1]))


def tripled(graph: onnx.GraphProto) -> None:
    """Embeddings of three times the size."""
    last = graph.output[0].name
    graph.node.append(helper.make_node("Concat", [last, last, last], ["tripled"], axis=1))
    graph.output[0].CopyFrom(
        helper.make_tensor_value_info("tripled", TensorProto.FLOAT, ["batch", "size"])
    )


ONNX_ATTACKS: dict[str, tuple[Callable[[onnx.GraphProto], None], str]] = {
    "an endless loop": (add_loop, "'Loop', which no exported model has"),
    "a graph as an attribute": (hide_loop, "a graph inside of an operator"),
    "data in another file": (read_elsewhere, "data outside of the file"),
    "a constant in another file": (read_elsewhere_as_constant, "data outside of the file"),
    "another domain": (name_domain, "of the domain 'com.microsoft'"),
    "a huge expansion": (expand, "Expand has a shape of 1.1e+09 values"),
    "a huge padding": (pad, "Conv has a shape of 1.1e+12 values"),
    "a constant without its data": (cut_constant, "bytes for a tensor of"),
    "a weight without its data": (cut_weight, "bytes for a tensor of"),
    "a second output": (second_output, "expected"),
    "a third input": (other_input, "expected"),
    "longer embeddings": (tripled, "expected float32 of the shape"),
}


@pytest.mark.parametrize("attack", ONNX_ATTACKS)
def test_an_onnx_model_of_a_stranger_is_refused(
    copied: Path, attack: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("secret").write_bytes(os.urandom(100_000))
    change, said = ONNX_ATTACKS[attack]
    model = onnx.load(copied / ONNX_FILE)
    change(model.graph)
    (copied / ONNX_FILE).write_bytes(model.SerializeToString())
    assert said in refusal(copied, ONNX_FILE)


RUN = """
from pathlib import Path
from vprtrain.errors import CheckpointError
from vprtrain.extractors.opening import open_extractor
import numpy as np
try:
    open_extractor(Path(sys.argv[1]), "cpu").embed([np.ones(16000, "float32") / 9])
except CheckpointError as error:
    print(error)
"""


def test_a_graph_that_computes_a_huge_shape_ends_in_a_limited_process(copied: Path) -> None:
    model = onnx.load(copied / ONNX_FILE)
    graph = model.graph
    sizes = {"rows": np.int64([2**19]), "one": np.float32([1]), "zero": np.float32(0)}
    for name, value in sizes.items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    last = graph.output[0].name
    for operator, inputs, output in (
        ("Mul", ["rows", "rows"], "shape"),
        ("Expand", ["one", "shape"], "huge"),
        ("ReduceMax", ["huge"], "largest"),
        ("Mul", ["largest", "zero"], "nothing"),
        ("Add", [last, "nothing"], "changed"),
    ):
        options = {"keepdims": 0} if operator == "ReduceMax" else {}
        graph.node.append(helper.make_node(operator, inputs, [output], **options))
    graph.output[0].name = "embeddings"
    (copied / ONNX_FILE).write_bytes(model.SerializeToString())
    sign(copied)
    said, _ = run_limited(RUN, copied / ONNX_FILE, most=8 * 2**30)
    assert "cannot be run" in said and "\n" not in said


def test_functions_and_merged_graphs_are_refused(exported: Path) -> None:
    data = (exported / ONNX_FILE).read_bytes()
    check_onnx_graph(data)
    model = onnx.ModelProto()
    model.functions.add(name="f", domain="")
    with pytest.raises(ValueError, match="a function"):
        check_onnx_graph(data + model.SerializeToString())
    second = onnx.ModelProto()  # protobuf merges a second graph into the first
    second.graph.node.add(op_type="Loop")
    with pytest.raises(ValueError, match="2 values of the field 7"):
        check_onnx_graph(data + second.SerializeToString())
    with pytest.raises(ValueError, match="a training graph"):
        check_onnx_graph(data + onnx.ModelProto(training_info=[{}]).SerializeToString())


@pytest.mark.parametrize("data", [b"\x0b", b"\x3a\x05\x00", b"\xff" * 20, b"\x38\x01", b"\x3a"])
def test_what_is_not_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(it|field) "):
        check_onnx_graph(data)


def test_no_operator_of_onnx_has_a_graph_inside() -> None:
    """The allow-list has no operator that could take another graph, in ONNX's own description."""
    for schema in onnx.defs.get_all_schemas():
        kinds = {attribute.type.name for attribute in schema.attributes.values()}
        if kinds & {"GRAPH", "GRAPHS"}:
            assert schema.name not in OPERATORS | ONNX_FURTHER


def operators(program: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program["program"]["regions"][0]["blocks"][0]["ops"]
    return found


def one(program: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in operators(program) if each["#"] == name)


def set_name(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda program: one(program, "1.relu").update({"#": name})


def append(operator: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda program: operators(program).append(operator)


def full_of(program: dict[str, Any]) -> None:
    one(program, "1.full")["A"][0]["AT"]["D"] = [2**30]


def expand_to(*sizes: int) -> Callable[[dict[str, Any]], None]:
    """Make the first expansion one to a constant shape."""

    def change(program: dict[str, Any]) -> None:
        place = operators(program).index(one(program, "1.expand"))
        shape = json.loads(json.dumps(one(program, "1.full_int_array")))
        shape["O"][0]["%"] = 9999
        items = [{"#": "0.a_i64", "D": size} for size in sizes]
        next(each for each in shape["A"] if each["N"] == "value")["AT"]["D"] = items
        one(program, "1.expand")["I"][1]["%"] = 9999
        operators(program).insert(place, shape)

    return change


def pad_static(program: dict[str, Any]) -> None:
    for attribute in one(program, "1.conv2d")["A"]:
        if attribute["N"] == "paddings":
            attribute["AT"]["D"] = [{"#": "0.a_i32", "D": 2**20}] * 2


STATIC_ATTACKS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    **{
        name: (set_name(name), "which no model needs")
        for name in (
            *("1.load_combine", "1.save_combine", "1.read_file", "1.while", "1.if", "1.py_func"),
            *("1.print", "1.assert", "1.custom", "builtin.module", "", "1.feed"),
        )
    },
    "no name": (lambda program: one(program, "1.relu").pop("#"), "None, which no model needs"),
    "a list as a name": (lambda p: one(p, "1.relu").update({"#": []}), "which no model needs"),
    "a graph inside": (lambda p: one(p, "1.relu").update(regions=[]), "expected an object of"),
    "no inputs": (lambda p: one(p, "1.relu").update(I=[]), "inputs of 1.relu"),
    "an input of later": (lambda p: one(p, "1.relu").update(I=[{"%": 9999}]), "an input of"),
    "an input of itself": (
        lambda p: one(p, "1.relu").update(I=[{"%": one(p, "1.relu")["O"][0]["%"]}]),
        "an input of 1.relu",
    ),
    "a result twice": (lambda p: operators(p).append(one(p, "1.relu")), "the number of a result"),
    "an attribute less": (lambda p: one(p, "1.cast")["A"].clear(), "the attributes of 1.cast"),
    "an attribute of another type": (
        lambda p: one(p, "1.cast")["A"][0].update(AT={"#": "0.a_i64", "D": 1}),
        "the attributes of 1.cast",
    ),
    "a type of no name": (
        lambda p: one(p, "1.cast")["A"][0]["AT"].update(D="float1000"),
        "an attribute of 1.cast",
    ),
    "a big constant": (full_of, "1.full has a shape of 1.1e+09 values"),
    "a huge expansion": (expand_to(2**15, 2**15), "1.expand has a shape of 1.1e+09 values"),
    "a huge padding": (pad_static, "1.conv2d has a shape of 1.1e+12 values"),
    "two blocks": (lambda p: p["program"]["regions"][0]["blocks"].append({}), "blocks: found"),
    "no program": (lambda p: p.pop("program"), "expected an object of base_code, program"),
    "no output": (lambda p: operators(p).remove(one(p, "1.fetch")), "0 outputs, expected 1"),
    "a weight less": (
        lambda p: operators(p).append({**one(p, "p"), "O": {}}),
        "the name of a weight",
    ),
}


@pytest.mark.parametrize("attack", STATIC_ATTACKS)
def test_a_static_graph_of_a_stranger_is_refused(copied: Path, attack: str) -> None:
    change, said = STATIC_ATTACKS[attack]
    program = json.loads((copied / STATIC_FILE).read_bytes())
    change(program)
    (copied / STATIC_FILE).write_text(json.dumps(program))
    assert said in refusal(copied, STATIC_FILE)


def test_weights_of_another_size_are_refused(copied: Path) -> None:
    path = copied / STATIC_WEIGHTS_FILE
    data = path.read_bytes()
    for changed in (data[:-1], data + b"\0", b"", data[:16] + b"\xff" * 4 + data[20:]):
        path.write_bytes(changed)
        assert f"{STATIC_WEIGHTS_FILE} is not of this graph" in refusal(copied, STATIC_FILE)
    program = json.loads((copied / STATIC_FILE).read_bytes())
    one(program, "p")["O"]["TT"]["D"][1][0] = 2**30
    (copied / STATIC_FILE).write_text(json.dumps(program))
    path.write_bytes(data)
    assert "is not what the graph expects" in refusal(copied, STATIC_FILE)


def test_the_two_lists_of_operators_are_apart(exported: Path) -> None:
    assert not EXPORTED.keys() & FURTHER
    program = json.loads((exported / STATIC_FILE).read_bytes())
    assert {each["#"] for each in operators(program)} - {"p"} <= EXPORTED.keys()
    weights = check_static_graph(program)
    assert len(weights) > 10 and all(np.prod(each.shape) for each in weights.values())
