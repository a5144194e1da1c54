"""Random numbers: a function of the seed, the stream and the element's place, and of nothing else
(docs/numerics.md, Randomness)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._index import linearize
from aivmc.ir.ops._philox import WORDS, philox4x32
from aivmc.ir.types import DType, TensorType

_KEY = TensorType(DType.U32, (4,))
_LAST_STREAM = (1 << 53) - 1


@define
class StreamKey(OpDef):
    """The key of a stream under the seed that the kernel is given when it runs.

    It has no reference semantics: whoever runs the program knows the seed.
    """

    name = "det.stream_key"
    attributes = {"stream": "int"}

    def result_type(self, *, stream: int) -> TensorType:
        if not 0 <= stream <= _LAST_STREAM:
            raise IRError(f"streams are 0 to 2^53 - 1, not {stream}")
        return _KEY


@define
class RandomBits(OpDef):
    """Random u32: element i, row-major, is word ``draws`` i + ``draw`` of the key's stream.

    Word w is word w mod 4 of Philox4x32-10 at the counter (w div 4, low word first; key[2]; key[3])
    under (key[0], key[1]). ``draws``, which is 1, 2 or 4, is how many words an element of the
    distribution takes.
    """

    name = "det.random_bits"
    operands = ("key",)
    attributes = {"shape": "dims", "draws": "int", "draw": "int"}

    def result_type(
        self, key: TensorType, *, shape: tuple[Dim, ...], draws: int, draw: int
    ) -> TensorType:
        if key != _KEY:
            raise IRError(f"a key is {_KEY}, not {key}")
        if draws not in (1, 2, 4):
            raise IRError(f"1, 2 or 4 draws are possible, not {draws}")
        if not 0 <= draw < draws:
            raise IRError(f"draw {draw} is not among the {draws} draws")
        return TensorType(DType.U32, shape)

    def reference(self, key: Array, *, shape: tuple[int, ...], draws: int, draw: int) -> Array:
        place = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64)
        words = _word(NumpyEmit(), list(key), place, draws, draw)
        return np.asarray(words).reshape(shape)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        shape, draws, draw = (site.attributes[name] for name in ("shape", "draws", "draw"))
        place = linearize(emit, index, shape) if shape else emit.dim(0)
        key = [load(0, [emit.dim(i)]) for i in range(4)]
        return _word(emit, key, emit.cast(place, DType.U64), draws, draw)


def _word(emit: Emit, key: Sequence[Scalar], place: Scalar, draws: int, draw: int) -> Scalar:
    def u64(value: int) -> Scalar:
        return emit.const(value, DType.U64)

    elements = WORDS // draws  # of a block
    block = emit.shr(place, u64(elements.bit_length() - 1))
    low, high = emit.and_(block, u64(0xFFFF_FFFF)), emit.shr(block, u64(32))
    k0, k1, *upper = (emit.cast(k, DType.U64) for k in key)
    *mine, out = philox4x32(emit, (low, high, *upper), (k0, k1))[draw::draws]
    if not mine:  # a block for each element; TVM fails on the slot, which is 0
        return emit.cast(out, DType.U32)
    slot = emit.and_(place, u64(elements - 1))
    for i, word in enumerate(mine):
        out = emit.select(emit.eq(slot, u64(i)), word, out)
    return emit.cast(out, DType.U32)
