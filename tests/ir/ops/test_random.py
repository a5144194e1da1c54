"""Random bits: Random123's known answers, and the layout of streams against plain integers."""

from __future__ import annotations

import numpy as np
import pytest

from aivmc.ir.binding import InputError
from aivmc.ir.definition import definition
from aivmc.ir.dims import symbol
from aivmc.ir.errors import IRError
from aivmc.ir.interpret import interpret
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._philox import philox4x32
from aivmc.ir.ops.random import _word
from aivmc.ir.seeds import named_stream, stream_key
from aivmc.ir.text import parse
from tests.ir.ops.evaluate import evaluate_element, reference
from tests.philox import key_words, philox, word

SEED = bytes(range(32))
# counter, key, result: the lines "philox4x32 10" of Random123's tests/kat_vectors.
KNOWN_ANSWERS = [
    "00000000 00000000 00000000 00000000 00000000 00000000   6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff   408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0   d16cfe09 94fdcceb 5001e420 24126ea1",
]


@pytest.mark.parametrize("line", KNOWN_ANSWERS)
def test_known_answers(line: str) -> None:
    numbers = [int(word, 16) for word in line.split()]
    counter, key, expected = numbers[:4], numbers[4:6], numbers[6:]
    words = philox4x32(NumpyEmit(), [np.uint64(c) for c in counter], [np.uint64(k) for k in key])
    assert [int(w) for w in words] == expected
    assert list(philox(tuple(counter), tuple(key))) == expected


def test_keys_of_streams() -> None:
    for seed in (bytes(32), SEED):
        for stream in (0, 1, 1 << 32, (1 << 53) - 1):
            assert tuple(map(int, stream_key(seed, stream))) == key_words(seed, stream)
    assert len({bytes(stream_key(SEED, s)) for s in range(100)}) == 100


def test_names_of_streams() -> None:
    assert named_stream(1.0) == (1 << 32) + 0x3F800000
    assert named_stream(-0.0) == (1 << 32) + 0x80000000
    assert named_stream(7) == (1 << 52) + 7
    assert named_stream(-1) == (1 << 53) - 1


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seeds_of_another_length(seed: bytes) -> None:
    with pytest.raises(InputError, match=f"a seed is 32 bytes, not {len(seed)}"):
        stream_key(seed, 0)


@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 5), (2, 1, 7), (0, 3), (3, 0)])
@pytest.mark.parametrize(("draws", "draw"), [(1, 0), (2, 0), (2, 1), (4, 0), (4, 3)])
def test_words(shape: tuple[int, ...], draws: int, draw: int) -> None:
    key = stream_key(SEED, 5)
    bits = reference("det.random_bits", key, shape=shape, draws=draws, draw=draw)
    plain = key_words(SEED, 5)
    expected = [word(plain, draws * i + draw) for i in range(bits.size)]
    assert bits.ravel().tolist() == expected


def test_places_beyond_32_bits() -> None:
    key = stream_key(SEED, 0)
    for place in (1 << 32, (1 << 34) - 1, 1 << 34, (1 << 62) + 5):
        got = _word(NumpyEmit(), list(key), np.array([place], np.uint64), 1, 0)
        assert got.tolist() == [word(key_words(SEED, 0), place)]


def test_symbolic_shapes() -> None:
    key = stream_key(SEED, 0)
    shape = (symbol("N"), 5)
    got = evaluate_element("det.random_bits", [key], symbols={"N": 3}, shape=shape, draws=2, draw=1)
    want = reference("det.random_bits", key, shape=(3, 5), draws=2, draw=1)
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize(
    ("key", "draws", "draw", "message"),
    [
        (np.zeros(3, np.uint32), 1, 0, r"a key is u32\[4\]"),
        (np.zeros(4, np.int32), 1, 0, r"a key is u32\[4\]"),
        (np.zeros(4, np.uint32), 3, 0, "1, 2 or 4 draws"),
        (np.zeros(4, np.uint32), 2, 2, "draw 2 is not among the 2 draws"),
    ],
)
def test_what_does_not_fit(key: np.ndarray, draws: int, draw: int, message: str) -> None:
    with pytest.raises(IRError, match=message):
        reference("det.random_bits", key, shape=(2,), draws=draws, draw=draw)


def test_programs_take_a_seed() -> None:
    module = parse(
        """module canonical {
          func @main(%x: f32[2]) -> (key) {
            %0 = det.stream_key {stream = 3} : u32[4]
            return %0
          }
        }"""
    )
    x = np.zeros(2, np.float32)
    (key,) = interpret(module, {"x": x}, seed=SEED).values()
    assert key.tobytes() == stream_key(SEED, 3).tobytes()
    with pytest.raises(InputError, match="takes a seed, and none is given"):
        interpret(module, {"x": x})
    with pytest.raises(InputError, match="32 bytes, not 5"):
        interpret(module, {"x": x}, seed=b"short")


@pytest.mark.parametrize("stream", [-1, 1 << 53])
def test_streams_have_bounds(stream: int) -> None:
    with pytest.raises(IRError, match="streams are 0 to 2"):
        definition("det.stream_key").infer([], {"stream": stream}, ())
