"""Building TIR functions: statements in scopes, tensors on raw pointers, elements of regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce, wraps
from typing import Any

from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.sym import Analyzer

from aivmc.backends.cpu.targets import CodeTarget
from aivmc.backends.double_float import functions as double_float
from aivmc.backends.tir_emit import (
    CODES,
    Expr,
    TirEmit,
    code_of,
    coded,
    dtype_of,
    i64,
    lanes_of,
    quotient,
    remainder,
    splat,
    tir_type,
)
from aivmc.ir.core import Op, Region, Value
from aivmc.ir.definition import Site, definition
from aivmc.ir.dims import Dim, product
from aivmc.ir.types import DType, TensorType

_SCRATCH = -3  # place of a function's scratch parameter
LANES = 16  # of every vector in TIR; LLVM splits them to the target's width


class Code:
    """Statements of one scope, in order."""

    def __init__(self) -> None:
        self.statements: list[Any] = []

    def bind(self, x: Expr) -> Expr:
        """``x`` computed here, as a variable; constants and variables as they are. For indexes,
        which TVM reasons about."""
        if isinstance(x, tirx.Var | tirx.IntImm):
            return x
        if dtype_of(x) in CODES:
            return self.keep(x)
        variable = tirx.Var("v", x.ty.dtype)
        self.statements.append(tirx.Bind(variable, x))
        return variable

    def keep(self, x: Expr) -> Expr:
        """``x`` computed here, as an element of an array of its own, which LLVM makes a register.
        For data: TVM replaces a variable by its value wherever it simplifies, an array's element
        never. Bools are left as expressions."""
        if isinstance(x, tirx.Var | tirx.IntImm | tirx.FloatImm | tirx.Broadcast):
            return x
        if x.ty.dtype.startswith("bool"):
            return x
        lanes = lanes_of(x)
        place = self.array(lanes, dtype_of(x))
        place.store(self, i64(0), x)
        return place.load(i64(0), lanes)

    def hide(self, x: Expr) -> Expr:
        """``x`` where LLVM sees what it is but TVM doesn't, which would put it in every expression;
        and it can't fold all constants it tries to, and takes 0 / x for 0."""
        place = self.array(1, dtype_of(x))
        place.store(self, i64(0), x)
        return place.load(i64(0))

    def loop(self, extent: Expr | int, body: Callable[[Code, Expr], None]) -> None:
        """``for i in range(extent): body(scope, i)``, ``i`` of the type of ``extent`` or i64."""
        extent = i64(extent) if isinstance(extent, int) else extent
        zero = tirx.const(0, extent.ty.dtype)
        if isinstance(extent, tirx.IntImm) and extent.value <= 1:
            if extent.value == 1:
                body(self, zero)
            return
        variable, scope = tirx.Var("i", extent.ty.dtype), Code()
        body(scope, variable)
        if scope.statements:
            kind = tirx.ForKind.SERIAL
            self.statements.append(tirx.For(variable, zero, extent, kind, scope.statement()))

    def span(self, begin: Expr, end: Expr, body: Callable[[Code, Expr], None]) -> None:
        """``for i in range(begin, end)``."""
        self.loop(end - begin, lambda scope, i: body(scope, scope.bind(begin + i)))

    def interleave(self, indexes: Iterable[Expr], body: Callable[[Code, Expr], None]) -> None:
        """``body`` for each of the indexes, a statement for each in turn."""
        scopes = []
        for index in indexes:
            scopes.append(Code())
            body(scopes[-1], index)
        for statements in zip(*(scope.statements for scope in scopes), strict=True):
            self.statements.extend(statements)

    def when(self, condition: Expr, body: Callable[[Code], None]) -> None:
        scope = Code()
        body(scope)
        if scope.statements:
            self.statements.append(tirx.IfThenElse(condition, scope.statement(), None))

    def choose(
        self, condition: Expr, then: Callable[[Code], None], other: Callable[[Code], None]
    ) -> None:
        yes, no = Code(), Code()
        then(yes)
        other(no)
        self.statements.append(tirx.IfThenElse(condition, yes.statement(), no.statement()))

    def unless(self, condition: Expr, x: Expr, other: Callable[[Code], Expr]) -> Expr:
        """``x``, or in lanes without the ``condition`` what ``other`` computes, in a branch that is
        taken where there are such lanes."""
        lanes = lanes_of(x)
        holds, place = self.array(lanes, DType.BOOL), self.array(lanes, dtype_of(x))
        holds.store(self, i64(0), condition)
        place.store(self, i64(0), x)
        flags = (tirx.BufferLoad(holds.buffer, [i64(lane)]) for lane in range(lanes))
        all_hold = reduce(tirx.bitwise_and, flags)

        def branch(scope: Code) -> None:
            kept, value = holds.load(i64(0), lanes), splat(other(scope), lanes)
            place.store(scope, i64(0), tirx.Select(kept, place.load(i64(0), lanes), value))

        self.when(tirx.EQ(all_hold, tirx.const(0, "uint8")), branch)
        return place.load(i64(0), lanes)

    def array(self, size: int, dtype: DType) -> Array:
        """An array on the stack, which LLVM keeps in registers where its indexes are constant."""
        buffer = tirx.decl_buffer((size,), stored_type(dtype), name="local", scope="local")
        annotation = {"disable_lower_builtin": tirx.const(True, "bool")}
        self.statements.append(tirx.AllocBuffer(buffer, annotation))
        return Array(buffer, dtype)

    def statement(self) -> Any:
        if len(self.statements) == 1:
            return self.statements[0]
        return tirx.SeqStmt(self.statements)


def stored_type(dtype: DType) -> str:
    """How TIR holds elements in memory: bools as bytes; types it can't generate code for as their
    bits."""
    return tir_type(DType.U8 if dtype is DType.BOOL else CODES.get(dtype, dtype))


@dataclass(frozen=True)
class Array:
    """A one-dimensional buffer of elements as :func:`stored_type` says."""

    buffer: Any
    dtype: DType

    def load(self, offset: Expr, lanes: int = 1) -> Expr:
        """``lanes`` consecutive elements from ``offset``, or those at a vector of offsets."""
        at = tirx.Ramp(offset, i64(1), lanes) if lanes > 1 else offset
        x = tirx.BufferLoad(self.buffer, [at])
        if self.dtype is DType.BOOL:
            return tirx.NE(x, splat(tirx.const(0, "uint8"), lanes_of(x)))
        if self.dtype.is_sub_byte:  # what else is in the byte is no part of the value
            mask = tirx.const((1 << self.dtype.bits) - 1, "uint8")
            x = tirx.bitwise_and(x, splat(mask, lanes_of(x)))
        return coded(x, self.dtype) if self.dtype in CODES else x

    def store(self, code: Code, offset: Expr, x: Expr) -> None:
        """Store a scalar, or a vector to consecutive elements."""
        lanes = lanes_of(x)
        if self.dtype is DType.BOOL:
            x = tirx.Cast(tir_type(DType.U8, lanes), x)
        if self.dtype in CODES:
            x = code_of(x)
        at = tirx.Ramp(offset, i64(1), lanes) if lanes > 1 else offset
        code.statements.append(tirx.BufferStore(self.buffer, x, [at]))


@dataclass(frozen=True)
class Tensor:
    """A row-major tensor in memory, from element ``base`` of an array on."""

    array: Array
    type: TensorType
    emit: TirEmit
    base: Expr = field(default_factory=lambda: i64(0))

    def offset(self, index: Sequence[Expr]) -> Expr:
        """Where the element at ``index`` is; a vector if one of the indexes is."""
        scalar, vector = self.base, None
        for axis, i in enumerate(index):
            stride = self.emit.dim(product(self.type.shape[axis + 1 :]))
            if lanes_of(i) == 1:
                scalar = scalar + i * stride
                continue
            part = _ramp(i)
            if isinstance(part, tirx.Ramp):
                part = tirx.Ramp(part.base * stride, part.stride * stride, lanes_of(i))
            else:
                part = part * splat(stride, lanes_of(i))
            vector = part if vector is None else _ramp(vector + part)
        if vector is None:
            return scalar
        if isinstance(vector, tirx.Ramp):
            return tirx.Ramp(vector.base + scalar, vector.stride, lanes_of(vector))
        return vector + splat(scalar, lanes_of(vector))

    def load(self, index: Sequence[Expr]) -> Expr:
        return self.array.load(self.offset(index))

    def store(self, code: Code, index: Sequence[Expr], x: Expr) -> None:
        offset = self.offset(index)
        if isinstance(offset, tirx.Ramp):
            self.array.store(code, offset.base, splat(x, lanes_of(offset)))
        else:
            self.array.store(code, offset, x)


_ANALYZER = Analyzer()


def _ramp(x: Expr) -> Expr:
    """A vector index in the form base + i * stride, if it has it."""
    return x if isinstance(x, tirx.Ramp) else _ANALYZER.simplify(x)


def vector_index(base: Expr) -> Expr:
    """``base, base + 1, …``: the index of LANES neighbours."""
    return tirx.Ramp(base, i64(1), LANES)


@dataclass
class Kernel:
    """One function under construction: ``void f(buffers…, dims…, scratch, begin, end)``."""

    name: str
    op: Op
    target: CodeTarget
    emit: TirEmit
    tensors: Mapping[Value, Tensor]  # operands (as region arguments) and yielded values
    scratch: Array
    begin: Expr
    end: Expr
    dims: Mapping[str, Expr]  # parameters, by symbol
    code: Code = field(default_factory=Code)
    tasks: Dim = 1
    scratch_bytes: Dim = 0
    parameters: tuple[Any, ...] = ()
    declarations: tuple[Any, ...] = ()
    prologue: Code = field(default_factory=Code)

    @property
    def region(self) -> Region:
        return self.op.regions[0]

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.region.terminator.operands

    def take_scratch(self, elements: Dim, dtype: DType = DType.F32) -> Expr:
        """Offset, in elements, of new scratch memory of this thread, a whole cache line."""
        start, size = self.scratch_bytes, dtype.bits // 8
        line = 64 // size
        self.scratch_bytes = start + (elements + (line - 1)) // line * 64
        return self.emit.dim(start // size)

    def scratch_as(self, dtype: DType) -> Array:
        """The scratch memory as elements of ``dtype``."""
        if dtype is DType.F32:
            return self.scratch
        buffer = tirx.decl_buffer((1,), stored_type(dtype), name="scratch")
        self.declarations += (tirx.DeclBuffer(buffer, data=self.parameters[_SCRATCH]),)
        return Array(buffer, dtype)

    def again(self, code: Code, zero: Expr) -> None:
        """From here on, in this scope, compute dims again, since no compiler sees that ``zero`` is
        one: registers need not keep them."""
        dims = {s: code.bind(_not_negative(v + zero)) for s, v in self.dims.items()}
        self.emit.rebind(dims, code.bind)

    def function(self) -> Any:
        """The finished PrimFunc."""
        body = Code()
        body.statements = [
            *self.declarations,
            *self.prologue.statements,
            *self.code.statements,
        ]
        function = tirx.PrimFunc(list(self.parameters), body.statement())
        return function.with_attr("global_symbol", self.name).with_attr("tirx.noalias", True)


def new_kernel(name: str, op: Op, symbols: Iterable[str], target: CodeTarget) -> Kernel:
    """An empty function for a kernel op: one pointer for each operand and result."""
    region = op.regions[0]
    dims = {s: tirx.Var(f"dim_{i}", "int64") for i, s in enumerate(symbols)}
    # TVM divides indexes with a sign test unless it can tell that they are not negative.
    prologue = Code()
    bound = {s: prologue.bind(_not_negative(v)) for s, v in dims.items()}
    emit = TirEmit(bound, prologue.bind, _sizes(region), target.lacks, target.permute)
    pointers, declarations = [], []

    def on_pointer(dtype: DType, label: str) -> Array:
        stored = stored_type(dtype)
        pointer = tirx.Var(label, PointerType(PrimType(stored)))
        # The extent is not used: nothing checks bounds, and symbolic ones would need variables.
        buffer = tirx.decl_buffer((1,), stored, name=label)
        pointers.append(pointer)
        declarations.append(tirx.DeclBuffer(buffer, data=pointer))
        return Array(buffer, dtype)

    values = [*region.arguments, *region.terminator.operands]
    tensors = {
        v: Tensor(on_pointer(v.tensor.dtype, f"p{i}"), v.tensor, emit) for i, v in enumerate(values)
    }
    scratch = on_pointer(DType.F32, "scratch")
    begin, end = tirx.Var("begin", "int64"), tirx.Var("end", "int64")
    *data, scratch_pointer = pointers
    return Kernel(
        name,
        op,
        target,
        emit,
        tensors,
        scratch,
        prologue.bind(_not_negative(begin)),
        end,
        dims,
        parameters=(*data, *dims.values(), scratch_pointer, begin, end),
        declarations=tuple(declarations),
        prologue=prologue,
    )


def _sizes(region: Region) -> frozenset[Dim]:
    values = (v for op in region.ops for v in (*op.operands, *op.results))
    return frozenset(d for v in (*region.arguments, *values) for d in v.tensor.shape)


def _not_negative(x: Expr) -> Expr:
    return tirx.max(x, i64(0))


class ScopedEmit(TirEmit):
    """A ``TirEmit`` whose every result is kept in one scope. TVM walks expressions as trees:
    one that a definition uses twice would be walked, and copied, twice."""

    def __init__(self, emit: TirEmit, code: Code) -> None:
        self.__dict__.update(emit.__dict__)
        self._code = code

    def elementary(self, name: str, *xs: Expr) -> Expr:
        """Where f64 is slow, by f32 alone if that decides the result."""
        is_slow = "f64" in self._lacks and self.dtype(xs[0]) is DType.F32
        if not is_slow or name not in double_float.FUNCTIONS:
            return super().elementary(name, *xs)
        result, decided = double_float.FUNCTIONS[name](self, *xs)
        return self._code.unless(
            decided, result, lambda scope: TirEmit.elementary(ScopedEmit(self, scope), name, *xs)
        )


def _kept(operation: Callable[..., Expr]) -> Callable[..., Expr]:
    @wraps(operation)
    def keeping(self: ScopedEmit, *operands: Any) -> Expr:
        return self._code.keep(operation(self, *operands))

    return keeping


for _name in (
    *("add", "sub", "mul", "div", "rem", "fma", "sqrt", "neg", "abs", "floor", "ceil", "trunc"),
    *("rint", "maximum", "minimum", "lt", "le", "eq", "is_nan", "and_", "or_", "xor", "not_"),
    *("shl", "shr", "select", "lookup", "cast", "bitcast"),
):
    setattr(ScopedEmit, _name, _kept(getattr(TirEmit, _name)))


class Elements:
    """Elements of a region's values, computed in one scope; each is computed once.

    ``known`` holds values that are computed elsewhere: a function of the index.
    """

    def __init__(
        self,
        code: Code,
        emit: TirEmit,
        region: Region,
        known: Mapping[Value, Callable[[Sequence[Expr]], Expr]],
    ) -> None:
        self.code = code
        self.emit = ScopedEmit(emit, code)
        self.known = known
        self._makers = {v: op for op in region.body for v in op.results}
        self._done: dict[tuple[Value, tuple[int, ...]], Expr] = {}
        self._kept: list[Sequence[Expr]] = []  # indexes, so that their ids stay theirs

    def at(self, value: Value, index: Sequence[Expr]) -> Expr:
        """The element of ``value`` at ``index``."""
        key = (value, tuple(map(id, index)))
        if key not in self._done:
            self._kept.append(index)
            self._done[key] = self.code.keep(self._compute(value, index))
        return self._done[key]

    def _compute(self, value: Value, index: Sequence[Expr]) -> Expr:
        if value in self.known:
            return self.known[value](index)
        op = self._makers[value]
        if op.name == "det.canonical_nan" and self._has_one_nan(op.operands[0]):
            return self.at(op.operands[0], index)
        if op.name == "det.constant":
            (element,) = op.attributes["value"].data.ravel()
            return self.code.hide(self.emit.const(element.item(), value.tensor.dtype))
        site = Site(tuple(v.tensor for v in op.operands), op.result.tensor, op.attributes)
        return definition(op.name).element(
            self.emit, lambda i, at: self.at(op.operands[i], at), index, site
        )

    def _has_one_nan(self, value: Value) -> bool:
        op = self._makers.get(value)
        return op is not None and definition(op.name).one_nan and value.tensor.dtype is DType.F32


def store_results(kernel: Kernel, code: Code, index: Sequence[Expr], root: Value, x: Expr) -> None:
    """Store what a kernel yields at ``index``, where ``x`` is the element of ``root`` there."""
    known: dict[Value, Callable[[Sequence[Expr]], Expr]] = {
        v: kernel.tensors[v].load for v in kernel.region.arguments
    }
    known[root] = lambda _: x
    elements = Elements(code, kernel.emit, kernel.region, known)
    for value in kernel.outputs:
        kernel.tensors[value].store(code, index, elements.at(value, index))


def delinearize(code: Code, emit: TirEmit, number: Expr, shape: Sequence[Dim]) -> list[Expr]:
    """The index of the ``number``-th element of ``shape``, row-major, of ``number``'s dtype."""
    index: list[Expr] = []
    dtype = number.ty.dtype
    rest, zero = number, tirx.const(0, dtype)
    for axis in reversed(range(len(shape))):
        dim = shape[axis]
        if dim == 1:
            index.append(zero)
        elif axis == 0 or all(d == 1 for d in shape[:axis]):
            index.append(rest)
            rest = zero
        else:
            size = emit.narrow(dim) if dtype == "int32" else emit.size(dim)
            index.append(code.bind(remainder(rest, size)))
            rest = code.bind(quotient(rest, size))
    return index[::-1]
