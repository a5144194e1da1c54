"""The examples without the compiler: model files, pictures, decoding, downloads, timing."""

import hashlib
import math
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from aivmc.kernel_file.seed_policy import POLICIES
from aivmc.protocol.execution import Session
from examples.bench import functions, protocol
from examples.bench.measure import compare, onnxruntime_session
from examples.models import bert_base
from examples.models.graph import save
from examples.models.make import FULL, SMALL, make
from examples.ocr import demo, recognize
from examples.ocr.make_picture import PICTURE, TEXT, draw_line
from examples.ocr.network import Convolution, forward, train_step
from examples.ocr.train_small import CLASSES, export, new_network
from examples.published import ModelUnavailableError, published

SIZES = {"N": 2, "P": 5}
SMALL_SHA256 = {
    "bert_base": "c49310a185ad69e8820bbd25cb31df2cc51d2c49c4943d4ed5ae602e274d0a2a",
    "gpt2_step": "1f7821efb6e77882603f475ce4a3e60488b7eba8223ab0ce01501998fc7959d2",
    "mobilenet_v2": "94e3a626e430cd47ba3f6b750be8205d2b271ae1901db22b702b776453356e85",
    "resnet50_int8": "50ccc1d236d04934f29390aea6b320984130a3f16e5d81f93a77d22a67577d6f",
    "resnet50": "ddacf0ef1838bc8e3ee9bd575bb33b57e98616a84b43b2d30f37f69ee8e90db7",
}
PICTURE_SHA256 = "5e5d93c1127f0346dd4b5414386f1f1cf1f71886ec6198936cfd543aa828a541"
# As torchvision and transformers count them; MobileNetV2's 3,504,872 less one of the two
# parameters of each of its 17,056 normalized channels, which folding merges.
PARAMETERS = {
    "bert_base": 109_482_240,
    "gpt2_step": 124_439_808,
    "mobilenet_v2": 3_504_872 - 17_056,
    "resnet50": 25_557_032,
    "resnet50_int8": 25_557_032 - 26_560,  # one of the two of each normalized channel
}

Feeds = dict[str, NDArray[np.float32] | NDArray[np.int64]]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options)


def _feeds(session: onnxruntime.InferenceSession) -> Feeds:
    """Normal floats; small indices, which every vocabulary and both token types have."""
    random = np.random.Generator(np.random.PCG64(0))
    feeds: Feeds = {}
    for value in session.get_inputs():
        shape = [SIZES.get(dim, dim) for dim in value.shape]
        if value.type == "tensor(int64)":
            feeds[value.name] = random.integers(0, 2, shape)
        else:
            feeds[value.name] = random.standard_normal(shape, np.float32)
    return feeds


@pytest.fixture(params=sorted(SMALL))
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    path = tmp_path / "small.onnx"
    make(request.param, str(path), small=True)
    yield request.param, path


def test_a_model_file_has_the_same_bytes_everywhere(small: tuple[str, Path]) -> None:
    name, path = small
    assert _sha256(path) == SMALL_SHA256[name]


def test_a_model_file_is_valid_and_runs(small: tuple[str, Path]) -> None:
    _, path = small
    onnx.checker.check_model(str(path), full_check=True)
    session = _session(path)
    for output in session.run(None, _feeds(session)):
        assert np.isfinite(output).all()
        assert 0.1 < np.abs(output).max() < 100


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("bert_base", "gpt2_step") else [])
        for name in sorted(FULL)
    ],
)
def test_a_full_model_has_the_published_number_of_parameters(name: str) -> None:
    weights = FULL[name]().graph.initializer
    learned = (weight for weight in weights if ".running_" not in weight.name)
    assert sum(math.prod(weight.dims) for weight in learned) == PARAMETERS[name]


def test_masked_tokens_change_no_other_token(tmp_path: Path) -> None:
    make("bert_base", str(tmp_path / "bert.onnx"), small=True)
    session = _session(tmp_path / "bert.onnx")
    feeds = _feeds(session)
    feeds["attention_mask"] = np.repeat([[1] * 12 + [0] * 4], 2, axis=0)
    hidden = session.run(["last_hidden_state"], feeds)[0]
    feeds["input_ids"] = feeds["input_ids"].copy()
    feeds["input_ids"][:, 12:] += 1
    changed = session.run(["last_hidden_state"], feeds)[0]
    assert np.array_equal(hidden[:, :12], changed[:, :12])
    assert not np.array_equal(hidden[:, 12:], changed[:, 12:])


def test_both_spellings_of_layer_normalization_mean_the_same(tmp_path: Path) -> None:
    outputs = []
    for fused in (True, False):
        config = bert_base.Config(2, 64, 4, 100, 32, 16, fused_norm=fused)
        save(bert_base.build(config), str(tmp_path / "bert.onnx"))
        session = _session(tmp_path / "bert.onnx")
        outputs.append(session.run(None, _feeds(session))[0])
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-5


def test_the_cache_grows_by_the_new_token(tmp_path: Path) -> None:
    make("gpt2_step", str(tmp_path / "gpt2.onnx"), small=True)
    session = _session(tmp_path / "gpt2.onnx")
    feeds = _feeds(session)
    names = [name for name in feeds if name.startswith("past_")]
    presents = session.run([name.replace("past", "present") for name in names], feeds)
    for name, present in zip(names, presents):
        assert present.shape[2] == SIZES["P"] + 1
        assert np.array_equal(present[:, :, :-1], feeds[name])


def test_the_prepared_picture_has_the_same_bytes_everywhere() -> None:
    x = recognize.prepare(recognize.read_picture(PICTURE))
    assert x.shape[:3] == (1, 3, 48)
    assert x.dtype == np.float32
    assert hashlib.sha256(x.tobytes()).hexdigest() == PICTURE_SHA256


def test_prepare_gives_blue_first_between_minus_one_and_one() -> None:
    picture = np.zeros((48, 8, 3), np.uint8)
    picture[..., 2] = 255
    x = recognize.prepare(picture)
    assert x.shape == (1, 3, 48, 8)
    assert (x[0, 0] == 1).all()
    assert (x[0, 1:] == -1).all()


def test_resize_to_the_same_size_changes_nothing() -> None:
    picture = np.random.Generator(np.random.PCG64(3)).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(recognize.resize(picture, 5, 7), picture)


@pytest.mark.parametrize(("height", "width"), [(5, 9), (3, 4), (16, 2), (1, 1)])
def test_resize_is_bilinear_interpolation(height: int, width: int) -> None:
    picture = np.random.Generator(np.random.PCG64(4)).integers(0, 256, (7, 6, 3), np.uint8)
    resized = recognize.resize(picture, height, width)
    for row in range(height):
        for column in range(width):
            exact = _bilinear(picture[:, :, 0], row, column, height, width)
            assert abs(exact - int(resized[row, column, 0])) <= Fraction(3, 4)


def _bilinear(plane: np.ndarray, row: int, column: int, height: int, width: int) -> Fraction:
    """The exact value: the sum over all pixels of tent weights at the clamped position."""
    places = []
    for index, count, size in ((row, height, plane.shape[0]), (column, width, plane.shape[1])):
        place = Fraction(2 * index + 1, 2 * count) * size - Fraction(1, 2)
        places.append(min(max(place, Fraction(0)), Fraction(size - 1)))
    return sum(
        (
            max(1 - abs(places[0] - i), Fraction(0))
            * max(1 - abs(places[1] - j), Fraction(0))
            * int(plane[i, j])
            for i in range(plane.shape[0])
            for j in range(plane.shape[1])
        ),
        Fraction(0),
    )


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([], ""),
        ([0, 0, 0], ""),
        ([1, 1, 0, 1], "aa"),
        ([0, 1, 2, 2, 0, 3, 1], "ab a"),
        ([3, 1, 3], " a "),
    ],
)
def test_decode_merges_repeats_and_drops_blanks(steps: list[int], text: str) -> None:
    probabilities = np.eye(4, dtype=np.float32)[steps]
    assert recognize.decode(probabilities, ["", "a", "b", " "]) == text


def test_decode_refuses_another_alphabet() -> None:
    with pytest.raises(ValueError, match="4 output classes, but 2 characters"):
        recognize.decode(np.eye(4, dtype=np.float32), ["", "a"])


def test_alphabet_needs_the_models_metadata(tmp_path: Path) -> None:
    make("resnet50", str(tmp_path / "resnet.onnx"), small=True)
    with pytest.raises(ValueError, match="no list of characters"):
        recognize.alphabet(tmp_path / "resnet.onnx")


def _read(model: Path) -> str:
    x = recognize.prepare(recognize.read_picture(PICTURE))
    (output,) = _session(model).run(None, {"x": x})
    return recognize.decode(output[0], recognize.alphabet(model)).strip()


def test_the_small_model_reads_the_picture() -> None:
    assert demo.SMALL.stat().st_size < 300_000
    assert recognize.alphabet(demo.SMALL) == CLASSES
    assert _read(demo.SMALL) == TEXT


@pytest.mark.models
def test_the_published_model_reads_the_picture() -> None:
    assert _read(published("ppocr_rec")) == TEXT


def test_the_exported_network_computes_what_was_trained(tmp_path: Path) -> None:
    layers = new_network(np.random.Generator(np.random.PCG64(5)))
    export(layers, tmp_path / "small.onnx")
    x = recognize.prepare(np.asarray(draw_line("Export")))
    (output,) = _session(tmp_path / "small.onnx").run(None, {"x": x})
    scores = np.exp(forward(layers, x)[0, :, 0].T.astype(np.float64))
    expected = scores / scores.sum(axis=1, keepdims=True)
    assert np.abs(output[0] - expected).max() < 1e-5


def test_training_follows_the_gradient() -> None:
    """The analytic gradient of each layer against central differences of the loss."""
    random = np.random.Generator(np.random.PCG64(6))
    shapes = [((2, 1, 3, 3), (2, 1), (1, 1), True), ((3, 2, 2, 3), (1, 1), (0, 1), False)]
    layers = [
        Convolution(random.standard_normal(weight), np.full(weight[0], 0.1), stride, pad, relu)
        for weight, stride, pad, relu in shapes
    ]
    x, labels = random.standard_normal((2, 1, 4, 6)), random.integers(0, 3, (2, 6))

    def loss() -> float:
        scores = forward(layers, x)[:, :, 0]
        chosen = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)[:, 0]
        return float((np.log(np.exp(scores).sum(axis=1)) - chosen).mean())

    for layer in layers:
        expected = np.zeros_like(layer.weight)
        for index in np.ndindex(*layer.weight.shape):
            sides = []
            for shift in (1e-5, -1e-5):
                layer.weight[index] += shift
                sides.append(loss())
                layer.weight[index] -= shift
            expected[index] = (sides[0] - sides[1]) / 2e-5
        assert train_step(layers, x, labels, 1, rate=0.0) == pytest.approx(loss())
        # After one step Adam's first moment is a tenth of the gradient.
        assert np.abs(layer.moments[0] * 10 - expected).max() < 1e-6
        for used in layers:
            used.moments.clear()


def test_the_readme_values_are_found_and_compared() -> None:
    readme = "text\n```\ndemo identity: aivm1:ab\ndemo output: sha256:cd\n```\n"
    assert demo.stated_values(readme, "demo") == {"identity": "aivm1:ab", "output": "sha256:cd"}
    assert demo.stated_values(readme, "fallback") == {}
    same = demo.Reading("text", "aivm1:ab", "sha256:cd")
    assert demo.differences(same, demo.stated_values(readme, "demo"), "demo") == []
    other = demo.Reading("text", "aivm1:ab", "sha256:ee")
    (line,) = demo.differences(other, demo.stated_values(readme, "demo"), "demo")
    assert "sha256:cd" in line
    assert "sha256:ee" in line


@pytest.fixture
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No index for pip, an empty cache; the folder returned is pip's only source of wheels."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return wheels


@pytest.mark.usefixtures("_offline")
def test_without_a_network_the_demo_reads_with_the_small_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ModelUnavailableError, match="cannot download rapidocr"):
        published("ppocr_rec")
    assert demo.choose_model(fallback=False) == ("fallback", demo.SMALL)
    assert "reading with the small model" in capsys.readouterr().err


def test_a_wheel_with_another_model_is_refused(_offline: Path, tmp_path: Path) -> None:
    info = "surfaces_onnx_files-0.0.1.dist-info"
    with zipfile.ZipFile(_offline / "surfaces_onnx_files-0.0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("surfaces_onnx_files/gradient_boosting_regressor.onnx", b"another")
        metadata = "Metadata-Version: 2.1\nName: surfaces-onnx-files\nVersion: 0.0.1\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    with pytest.raises(ModelUnavailableError, match="holds another"):
        published("mlp")
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_the_benchmark_calls_both_sides_equally_often_and_each_after_itself() -> None:
    calls: list[str] = []
    pair = compare(lambda: calls.append("a"), lambda: calls.append("b"), rounds=7, seconds=60)
    assert pair.rounds == 7
    untimed_then_timed = ("aabb" + "bbaa") * 3 + "aabb"
    assert "".join(calls[4:]) == untimed_then_timed


@pytest.mark.parametrize("function", functions.FUNCTIONS)
def test_the_benchmark_of_functions_has_models_and_operands(function: str, tmp_path: Path) -> None:
    model, x = functions.one_op(function), functions.operands(function)
    onnx.checker.check_model(model)
    low, high = functions.FUNCTIONS[function]
    assert low <= x.min() < x.max() <= high
    onnx.save(model, tmp_path / "model.onnx")
    (y,) = onnxruntime_session(tmp_path / "model.onnx", {}, threads=1).run(None, {"x": x})
    assert y.shape == x.shape == (functions.SIZE,)
    assert np.isfinite(y).all()
    assert len(np.unique(y)) > functions.SIZE // 100  # not saturated


def test_the_benchmark_fixes_symbolic_dims_for_onnx_runtime(tmp_path: Path) -> None:
    make("resnet50", str(tmp_path / "resnet.onnx"), small=True)
    session = onnxruntime_session(tmp_path / "resnet.onnx", {"x": (3, 3, 32, 32)}, threads=1)
    assert session.get_inputs()[0].shape == [3, 3, 32, 32]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_benchmark_of_receipts(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SMALL", 7)
    cost = protocol.fixed_cost(policy)
    assert set(cost) == {"beyond", "proof"}
    if policy == "fixed":
        session = Session(protocol.sampler(policy).file)
        options = Namespace(rounds=7, seconds=60)
        times = protocol.model_costs(session, {"x": np.zeros(6, np.float32)}, 1, options)
        assert {name: len(values) for name, values in times.items()} == dict.fromkeys(
            ("plain", "receipt", "trace"), 7
        )
