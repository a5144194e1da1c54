"""Operands and attributes for every op: what the tests over all definitions run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from aivmc.ir.constants import Constant
from aivmc.ir.definition import definitions
from aivmc.ir.types import DType
from tests.ir.ops.evaluate import special_floats, special_integers

Case = tuple[tuple[Any, ...], dict[str, Any]]  # operands, attributes

FLOATS = tuple(t for t in DType if t.is_float)
INTEGERS = tuple(t for t in DType if t.is_integer)
NARROW = tuple(t for t in FLOATS if t is not DType.F64)
SMALL = tuple(t for t in (*FLOATS, *INTEGERS) if t.bits < 8 or (t.bits == 8 and t.is_float))
BOOL = np.array([False, True])
_RANDOM = np.random.default_rng(20)


def specials(dtype: DType) -> Any:
    if dtype is DType.BOOL:
        return BOOL
    return special_floats(dtype) if dtype.is_float else special_integers(dtype)


def _elementwise(dtypes: tuple[DType, ...], count: int, **attributes: Any) -> Iterator[Case]:
    """Every tuple of special values by broadcasting; a rank of 0; no elements."""
    for dtype in dtypes:
        values = specials(dtype)
        values = values[:: max(len(values) // 9, 1)] if count == 3 else values
        yield tuple(_on_axis(values, a, count) for a in range(count)), attributes
        yield (values[-1],) * count, attributes
        yield (values[:1], *(values[:0],) * (count - 1)), attributes


def _on_axis(values: Any, axis: int, rank: int) -> Any:
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])


def _select() -> Iterator[Case]:
    for dtype in DType:
        if dtype not in (DType.STRING, DType.C64, DType.C128):
            a = np.zeros(3, dtype.numpy)
            b = np.ones((2, 3), np.float32).astype(dtype.numpy)
            yield (BOOL[:, None], a, b), {}
    yield (BOOL[:, None], special_floats(DType.F32), special_floats(DType.F32)[::-1].copy()), {}


def _cast() -> Iterator[Case]:
    numeric = [t for t in DType if t not in (DType.STRING, DType.C64, DType.C128)]
    for to in numeric:
        for source in (*FLOATS, *INTEGERS, DType.BOOL):
            yield (specials(source),), {"to": to}
        yield (np.array([0, 1], np.float32).astype(to.numpy),), {"to": DType.F32}
    small = {DType.F8E4M3FN: 4, DType.F8E5M2FNUZ: 3, DType.F4E2M1: 2, DType.F8E8M0: 1}
    for narrow, digits in {DType.F32: 24, DType.F16: 11, DType.BF16: 8, **small}.items():
        # A little more than halfway: a wider type on the way would make it half.
        yield (1 + 2.0**-digits + 2.0 ** -np.arange(digits + 1, 53),), {"to": narrow}
        yield (
            (np.array([2**62 + 2 ** (62 - digits) + 1, 2**14 + 2 ** max(14 - digits, 0) + 1]),),
            {"to": narrow},
        )


def _bitcast() -> Iterator[Case]:
    pairs = {DType.F64: DType.I64, DType.F32: DType.U32, DType.F16: DType.I16}
    for a, b in {**pairs, DType.BF16: DType.F16}.items():
        yield (specials(a),), {"to": b}
        yield (specials(b),), {"to": a}
    for a in SMALL:
        for b in (*FLOATS, *INTEGERS):
            if a.bits == b.bits < 16:
                yield (specials(a),), {"to": b}
                yield (specials(b),), {"to": a}


def distinct(*shape: int, dtype: Any = np.float32) -> Any:
    """Elements that tell where each came from."""
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape).astype(dtype)


def _movement() -> dict[str, list[Case]]:
    x = distinct(2, 3, 4)
    payloads = special_floats(DType.F32)
    return {
        "det.constant": [
            ((), {"value": Constant.of(values)}) for values in (payloads, *map(specials, SMALL))
        ],
        "det.dims": [((), {"dims": (3, 5, 7)}), ((), {"dims": ()}), ((), {"dims": (4,)})],
        "det.iota": [
            ((), {"length": n, "start": 5, "step": s, "dtype": t})
            for n in (0, 1, 9)
            for s, t in ((1, DType.I64), (-3, DType.I32), (100, DType.U8), (1, DType.I4))
        ],
        "det.random_bits": [
            ((np.array([7, 0, 2**32 - 1, 5], np.uint32),), {"shape": s, "draws": n, "draw": d})
            for s in ((), (9,), (2, 3, 5), (0, 4))
            for n, d in ((1, 0), (2, 1), (4, 2))
        ],
        "det.transpose": [
            ((x,), {"permutation": (2, 0, 1)}),
            ((payloads,), {"permutation": (0,)}),
            ((x[0, 0, 0],), {"permutation": ()}),
            ((distinct(0, 3),), {"permutation": (1, 0)}),
        ],
        "det.reshape": [
            ((x,), {"shape": s})
            for s in ((24,), (2, 12), (6, 4), (2, 1, 3, 4), (4, 6), (3, 2, 2, 2), (1, 8, 3, 1))
        ]
        + [
            ((distinct(1, 1),), {"shape": ()}),
            ((distinct(1)[0],), {"shape": (1, 1)}),
            ((distinct(0, 3),), {"shape": (6, 0)}),
            ((distinct(2, 3, 5, 7, 4),), {"shape": (6, 5, 4, 7)}),
            ((payloads,), {"shape": (1, len(payloads))}),
        ],
        "det.broadcast_to": [
            ((distinct(3, 1),), {"shape": (2, 3, 4)}),
            ((distinct(1)[0],), {"shape": (2, 0)}),
            ((distinct(2),), {"shape": (2,)}),
        ],
        "det.slice": [
            ((x,), {"starts": (0, 2, 3), "steps": (1, -1, -2), "sizes": (1, 3, 2)}),
            ((x,), {"starts": (0, 0, 1), "steps": (1, 1, 2), "sizes": (2, 0, 2)}),
            ((x[0, 0, 0],), {"starts": (), "steps": (), "sizes": ()}),
        ],
        "det.trilu": [
            ((distinct(2, 3, 4, dtype=t), np.int64(k)), {"upper": upper})
            for k in (-(2**63), -1, 0, 2, 2**63 - 1)
            for upper in (False, True)
            for t in (np.float32, np.bool_)
        ]
        + [((distinct(0, 4), np.int64(1)), {"upper": True})],
        "det.pad": list(_pad()),
        "det.concat": [
            ((x, distinct(2, 1, 4), distinct(2, 0, 4)), {"axis": 1}),
            ((distinct(0, 2), x[0, :, :2]), {"axis": 0}),
            ((distinct(0), distinct(0)), {"axis": 0}),
            ((payloads,), {"axis": 0}),
        ],
        **_picking(),
    }


def _in_small_types(cases: dict[str, list[Case]]) -> dict[str, list[Case]]:
    """Of each op the first case on f32, and those that combine, once more in each small type."""

    def converted(case: Case, dtype: DType) -> Case:
        arrays = map(np.asarray, case[0])
        small = (a.astype(dtype.numpy) if a.dtype == np.float32 else a for a in arrays)
        return tuple(small), case[1]

    out = {}
    for op, given in cases.items():
        some = [c for c in given if any(np.asarray(a).dtype == np.float32 for a in c[0])]
        kinds = {str(c[1].get("reduction", c[1].get("mode"))): c for c in reversed(some)}
        out[op] = [
            *given,
            *(
                converted(c, t)
                for kind, c in kinds.items()
                for t in SMALL
                if t.is_float or kind != "linear"
            ),
        ]
    return out


def _pad() -> Iterator[Case]:
    x, value = distinct(3, 4), np.float32(-9)
    for mode in ("constant", "edge", "reflect", "wrap"):
        for low, high in (
            ((1, 0), (0, 2)),
            ((-1, 3), (2, -2)),
            ((9, 0), (0, 11)),
            ((0, 0), (0, 0)),
        ):
            yield (x, value), {"low": low, "high": high, "mode": mode}
        yield (x[:1], value), {"low": (2, 0), "high": (1, 0), "mode": mode}
        yield (x[:0], value), {"low": (0, 2), "high": (0, 0), "mode": mode}
        yield (value, value), {"low": (), "high": (), "mode": mode}
    yield (x[:0], value), {"low": (1, 1), "high": (1, 0), "mode": "constant"}
    yield (x, value), {"low": (-5, 0), "high": (3, 0), "mode": "constant"}
    yield (x, value), {"low": (3, 0), "high": (-5, 0), "mode": "constant"}


def _picking() -> dict[str, list[Case]]:
    x = distinct(3, 4, 5)
    wild = np.array([[0, -1, 3], [-4, 99, -99]])
    elements = np.array([[[1], [-3], [7]], [[0], [-9], [2]]])
    return {
        "det.gather": [((x, wild.astype(t)), {"axis": a}) for a in (0, 1, 2) for t in ("i4", "i8")]
        + [((x, np.int64(-1)), {"axis": 1}), ((x, np.zeros(0, np.int64)), {"axis": 0})],
        "det.gather_elements": [((x, elements), {"axis": a}) for a in (0, 1, 2)]
        + [((x, elements[:0]), {"axis": 1})],
        "det.gather_nd": [
            ((x, np.array([[0, 1], [-1, 9]])), {"batch_dims": 0}),
            ((x, np.array([[2], [-3], [0]])), {"batch_dims": 1}),
            ((x, np.array([[1, -1, 2]])), {"batch_dims": 0}),
            ((x, np.zeros((0, 2), np.int64)), {"batch_dims": 0}),
        ],
        "det.scatter_elements": [
            ((x.astype(t), elements, distinct(2, 3, 1, dtype=t)), {"axis": a, "reduction": r})
            for a in (0, 1, 2)
            for r in ("none", "add", "mul", "max", "min")
            for t in (np.float32, np.float16, np.int32)
        ],
        "det.scatter_nd": [
            ((x, np.array([[0, 1], [0, 1], [-1, 9]]), distinct(3, 5)), {"reduction": r})
            for r in ("none", "add", "mul", "max", "min")
        ],
    }


def _resize() -> list[Case]:
    kinds = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners")
    x = distinct(1, 2, 4, 5)
    x[0, 0, 1, 2], x[0, 1, 3, 3] = np.inf, -0.0
    out: list[Case] = []
    for coordinate in (*kinds, "asymmetric"):
        for size, scales in (((8, 10), ()), ((3, 5), ()), ((1, 1), ()), ((5, 7), (1, 1, 1.3, 1.5))):
            attributes: dict[str, Any] = {
                "sizes": (1, 2, *size),
                "scales": tuple(map(float, scales)),
            }
            attributes |= {"coordinate": coordinate}
            roundings = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
            out += [((x,), {**attributes, "mode": "nearest", "nearest": r}) for r in roundings]
            linear = {**attributes, "mode": "linear", "nearest": "floor"}
            out += [((x.astype(t),), linear) for t in ("f4", "f2", "f8")]
    empty = {"sizes": (0, 4), "scales": (), "coordinate": "asymmetric"}
    out.append(((distinct(0, 2),), {**empty, "mode": "linear", "nearest": "floor"}))
    return out


def _reductions() -> dict[str, list[Case]]:
    def cases(dtypes: tuple[DType, ...], **attributes: Any) -> list[Case]:
        return [
            ((x,), {"axes": axes, "keepdims": keepdims, **attributes})
            for dtype in dtypes
            for x in (_matrix(dtype), np.zeros((2, 0, 3), dtype.numpy))
            for axes in ((), (1,), (0, 2), (0, 1, 2))
            for keepdims in (False, True)
        ]

    orders: dict[str, list[Case]] = {}
    for name in ("sum", "square_sum", "product"):
        orders[f"det.reduce_{name}"] = [
            *cases(FLOATS, order="lanes16"),
            *cases((DType.F32,), order="seq"),
            *cases(INTEGERS, order="exact"),
        ]
    extremes = {f"det.reduce_{m}": cases((*FLOATS, *INTEGERS)) for m in ("max", "min")}
    bools = {f"det.reduce_{m}": cases((DType.BOOL,)) for m in ("any", "all")}
    return orders | extremes | bools


def _matrix(dtype: DType) -> Any:
    """[3, n, 2] of special values; finite ones in the first row, so that it sums to more."""
    values = specials(dtype)
    x = np.stack([np.resize(np.roll(values, r), (len(values), 2)) for r in range(3)])
    if dtype.is_float:
        x[0] = _RANDOM.standard_normal(x[0].shape).astype(dtype.numpy)
    return x


def _ranking() -> dict[str, list[Case]]:
    operands = [_matrix(t) for t in (*FLOATS, *INTEGERS)]
    flags = (False, True)
    extreme: list[Case] = [
        ((x,), {"axis": a, "keepdims": k, "last": last})
        for x in operands
        for a in (0, 1)
        for k in flags
        for last in flags
    ]
    return {
        "det.arg_max": extreme,
        "det.arg_min": extreme,
        "det.top_k": [
            ((x,), {"axis": 1, "k": k, "largest": large})
            for x in operands
            for k in (0, 3)
            for large in flags
        ],
        "det.cumulative_sum": [
            ((x,), {"axis": 1, "exclusive": e, "reverse": r})
            for x in operands
            for e in flags
            for r in flags
        ],
    }


def _contractions() -> dict[str, list[Case]]:
    def normal(*shape: int) -> Any:
        return _RANDOM.standard_normal(shape).astype(np.float32)

    def integers(t: Any, *shape: int) -> Any:
        return _RANDOM.integers(np.iinfo(t).min, np.iinfo(t).max, shape, t, endpoint=True)

    plain = {"strides": (2, 1), "dilations": (1, 2), "low": (1, 0), "high": (0, 2)}
    window = {"window": (2, 3), **plain}
    conv = {**plain, "group": 2}
    first = {**conv, "block": 1, "layout": "channels_first"}
    x, w = normal(2, 4, 5, 6), normal(6, 2, 3, 2)
    out: dict[str, list[Case]] = {
        "det.matmul": [
            ((normal(2, 3, 7).astype(t.numpy), normal(7, 4).astype(t.numpy)), {"block": 4})
            for t in FLOATS
        ]
        + [((integers(np.int8, 3, 5), integers(np.uint8, 5, 2)), {"block": 0})]
        + [
            ((integers(np.int8, 3, 5).astype(a.numpy), integers(np.uint8, 5, 2)), {"block": 0})
            for a in SMALL
            if a.is_integer
        ]
        + [((normal(3, 0), normal(0, 2)), {"block": 512})],
        "det.conv": [
            (
                (x.astype(t.numpy), w.astype(t.numpy)),
                {**conv, "block": 1, "layout": "channels_first"},
            )
            for t in FLOATS
        ]
        + [
            (
                (integers(np.uint8, 1, 4, 5, 6), integers(np.int8, 6, 2, 3, 2)),
                {**conv, "block": 0, "layout": "channels_first"},
            ),
            ((np.moveaxis(x, 1, 3), w), {**conv, "block": 16, "layout": "channels_last"}),
            # Infinite weights meet padding; the only product of a sum underflows to -0.
            ((x, np.where(w > 1, np.float32(np.inf), w)), first),
            (
                (np.full((1, 2, 1, 1), 1e-30, np.float32), np.full((2, 1, 1, 1), -1e-30, "f4")),
                {**first, "strides": (1, 1), "low": (0, 0)},
            ),
        ],
        "det.window_max": [((distinct(4, 5, dtype=t.numpy),), window) for t in (*NARROW, DType.I8)],
        "det.window_sum": [
            ((distinct(4, 5, dtype=t.numpy),), {**window, "order": "lanes16"}) for t in NARROW
        ]
        + [((distinct(4, 5, dtype="i4"),), {**window, "order": "exact"})],
    }
    transposed = {**conv, "output_pad": (1, 0), "block": 1}
    out["det.conv_transpose"] = [
        ((x.astype(t.numpy), normal(4, 3, 3, 2).astype(t.numpy)), transposed) for t in FLOATS
    ]
    return out


def _elementwise_cases() -> dict[str, list[Case]]:
    out: dict[str, list[Case]] = {}
    numbers = (*FLOATS, *INTEGERS)
    for name in ("add", "sub", "mul", "div", "rem", "maximum", "minimum"):
        out[f"det.{name}"] = list(_elementwise(numbers, 2))
    for name in ("neg", "abs", "sign", "relu"):
        out[f"det.{name}"] = list(_elementwise(numbers, 1))
    for name in ("sqrt", "floor", "ceil", "trunc", "rint", "is_nan", "canonical_nan"):
        out[f"det.{name}"] = list(_elementwise(FLOATS, 1))
    for name in ("less", "less_equal", "equal"):
        out[f"det.{name}"] = list(_elementwise((*numbers, DType.BOOL), 2))
    for name in ("bit_and", "bit_or", "bit_xor", "shift_left", "shift_right"):
        out[f"det.{name}"] = list(_elementwise(INTEGERS, 2))
    for name in ("logical_and", "logical_or", "logical_xor"):
        out[f"det.{name}"] = list(_elementwise((DType.BOOL,), 2))
    out["det.logical_not"] = list(_elementwise((DType.BOOL,), 1))
    out["det.bit_not"] = list(_elementwise(INTEGERS, 1))
    out["det.fma"] = list(_elementwise(FLOATS, 3))
    out["det.leaky_relu"] = list(_elementwise(FLOATS, 1, slope=0.01))
    out["det.is_inf"] = [
        case
        for positive in (False, True)
        for negative in (False, True)
        for case in _elementwise(FLOATS, 1, positive=positive, negative=negative)
    ]
    out["det.pow"] = list(_elementwise(FLOATS, 2))
    for name, rule in definitions().items():
        if type(rule).__module__ == "aivmc.ir.ops.elementary" and name not in out:
            out[name] = list(_elementwise(FLOATS, 1))
    return out


CASES: dict[str, list[Case]] = {
    **_elementwise_cases(),
    "det.select": list(_select()),
    "det.cast": list(_cast()),
    "det.bitcast": list(_bitcast()),
    **_in_small_types({**_movement(), "det.resize": _resize()}),
    **_reductions(),
    **_ranking(),
    **_contractions(),
}
