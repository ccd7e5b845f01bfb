"""Products of 8 bits with a scale to each token: integers inside, and no token that knows of another."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from refrain.exporters.architectures.decoder import Linear
from refrain.exporters.onnx import integer_products
from refrain.exporters.onnx.builder import GraphBuilder
from refrain.pipeline.export_schema import QuantizationConfig

RNG = np.random.default_rng(0)
WIDTH, CHANNELS = 144, 72
WEIGHT = RNG.standard_t(3, (CHANNELS, WIDTH)).astype(np.float32)
BIAS = RNG.normal(size=CHANNELS).astype(np.float32)
TOKENS = (RNG.standard_t(2, (37, WIDTH)) * np.logspace(-6, 6, 37)[:, None]).astype(np.float32)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """A function from tokens to what the operators make of them: with the bias, and once more without."""
    folder = tmp_path_factory.mktemp("product")
    with (folder / "model.onnx.data").open("wb") as data:
        builder = GraphBuilder(data, QuantizationConfig(bits=8, activations="token"))
        for name, bias in (("biased", BIAS), ("plain", None)):
            integer_products.add_integer_product(builder, name, Linear(WEIGHT, bias), "x", f"{name}.output")
            shape = ["rows", "columns", CHANNELS]
            builder.outputs.append(helper.make_tensor_value_info(f"{name}.output", TensorProto.FLOAT, shape))
    builder.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "columns", WIDTH]))
    model = builder.model()
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 1, "codes are made once for both"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda tokens: session.run(None, {"x": tokens})


def expected(tokens):
    """The same in NumPy, its sums in 64 bits."""
    codes, scales = integer_products.quantize_channels(WEIGHT)
    farthest = np.abs(tokens).max(-1, keepdims=True)
    steps = np.rint(tokens / farthest / (1 / np.float32(127))).astype(np.int64)
    return (steps @ codes.T.astype(np.int64)) * (scales / np.float32(127)) * farthest


def test_it_multiplies_the_codes_of_tokens_with_those_of_channels(product):
    biased, plain = product(TOKENS[:, None])
    assert np.allclose(plain[:, 0], expected(TOKENS), rtol=1e-5)
    assert np.allclose(biased, plain + BIAS, rtol=1e-5)
    sizes = np.linalg.norm(TOKENS, axis=1) * np.linalg.norm(WEIGHT)
    assert (np.linalg.norm(plain[:, 0] - TOKENS @ WEIGHT.T, axis=1) < 0.02 * sizes).all()


@pytest.mark.parametrize("others", [
    TOKENS[1:],
    TOKENS[1:] * np.float32(1e12),
    np.zeros((36, WIDTH), np.float32),
    np.full((36, WIDTH), np.nan, np.float32),
    np.full((36, WIDTH), -np.inf, np.float32),
])  # fmt: skip
def test_a_token_is_multiplied_alone_as_in_any_company(others, product):
    alone = product(TOKENS[None, :1])
    for shape in ((1, 37), (37, 1)):
        together = product(np.concatenate([TOKENS[:1], others]).reshape(*shape, WIDTH))
        for one, many in zip(alone, together, strict=True):
            assert np.array_equal(one[0, 0], many[0, 0])


def test_a_token_of_zeros_makes_zeros_and_the_bias(product):
    biased, plain = product(np.zeros((1, 3, WIDTH), np.float32))
    assert not plain.any() and np.array_equal(biased[0], np.tile(BIAS, (3, 1)))


@pytest.mark.parametrize("bad, at", [(np.nan, slice(None)), (np.inf, 5), (-np.inf, -1)])
def test_what_is_no_number_does_not_pass_for_one(bad, at, product):
    """A norm makes the whole of a token nan where one of its numbers is."""
    tokens = TOKENS[None, :1].copy()
    tokens[..., at] = bad
    assert not any(np.isfinite(output).any() for output in product(tokens))


def neighbours(count, *codes):
    """Two channels of weights, one the other's negative, in which some codes come again and again."""
    weight = np.resize(np.array(codes, np.float32), (1, count))
    return np.concatenate([weight, -weight])


@pytest.mark.parametrize("weight", [
    neighbours(WIDTH, 1, 1),
    neighbours(WIDTH, 0, 1, 1, 0),  # in 16 bits a number and the one after it are summed, from the first on
    neighbours(WIDTH, 1, 0.01),
    neighbours(WIDTH, 1, -1),
    neighbours(WIDTH, 1, -1, 1, 1, 0.5, 0.6),
    WEIGHT,
])  # fmt: skip
def test_no_sum_is_cut_off_on_a_processor_that_adds_two_products_in_16_bits(weight):
    codes, scales = integer_products.quantize_channels(weight)
    most = np.uint8(255)  # as far as a token's codes may be from each other
    for tokens in (np.full((1, WIDTH), most), np.full((9, WIDTH), most), np.resize([most, 1], (9, WIDTH))):
        assert np.array_equal(multiply(tokens.astype(np.uint8), codes), tokens.astype(int) @ codes.T.astype(int))
    assert (np.abs(codes[:, ::2].astype(int) + codes[:, 1::2]) <= 128).all()
    assert (np.abs(codes * scales[:, None] - weight) <= scales[:, None]).all()


def multiply(tokens, codes):
    """Codes with codes, in a session of which nothing is asked."""
    node = helper.make_node("MatMulInteger", ["x", "codes"], ["y"])
    constant = numpy_helper.from_array(np.ascontiguousarray(codes.T), "codes")
    x, y = (helper.make_tensor_value_info(name, kind, [None, None]) for name, kind in
            (("x", TensorProto.UINT8), ("y", TensorProto.INT32)))  # fmt: skip
    graph = helper.make_graph([node], "product", [x], [y], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": tokens})[0]


def test_codes_of_channels_leave_zeros_and_signs_as_they_are():
    weight = np.array([[0.0, 0, 0], [3, -1, 0], [-2, 2, 1]], np.float32)
    codes, scales = integer_products.quantize_channels(weight)
    assert codes.dtype == np.int8 and not codes[0].any() and codes[1, 2] == 0
    assert np.allclose(codes * scales[:, None], weight, atol=3 / 119)
