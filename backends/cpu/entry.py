"""The native entry of a kernel: runs its steps in order, each shared among the threads.

Every thread that computes has the IEEE 754 default environment (round to nearest even, no
flush-to-zero, no traps) while it does, and its own again after. Which thread runs which tasks never
changes a result, as tasks of a step are independent and steps are separated by barriers. The module
computes on integers and pointers only. The memory it shares with the runtime: aivmc.ir.native_abi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import llvmlite.binding as llvm
from llvmlite import ir

from aivmc.backends.cpu.audit import audit_entry
from aivmc.backends.cpu.targets import llvm_target
from aivmc.ir import native_abi as abi
from aivmc.ir.errors import AivmcError

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_PTR = ir.PointerType()
_VOID = ir.VoidType()
_STEP = ir.FunctionType(_VOID, [_PTR, _PTR, _I64, _I64])  # context, scratch, begin, end

_CHUNKS_PER_THREAD = 4  # evens out unequal threads, at one atomic operation a chunk
_IDLE_SPINS = 1000  # 20 to 40 µs before a worker sleeps
# 2 to 4 µs before a thread yields its core, perhaps to one that it waits for. On cores of their own
# a barrier takes 0.2 µs; threads that share a core pay the spins at every step.
_BARRIER_SPINS = 100


@dataclass(frozen=True)
class Step:
    """One call of a kernel function, ``void f(ptr buffer…, i64 dim…, ptr scratch, i64 begin,
    i64 end)``, which does its tasks from ``begin`` to ``end``. The numbers index the context's
    tables. A step that is not ``parallel`` is run by thread 0. It writes to the last ``results``
    of its buffers, at which the runtime may look if it is ``traced``."""

    function: str
    buffers: tuple[int, ...]
    dims: tuple[int, ...]
    parallel: bool
    results: int = 1
    traced: bool = False

    @property
    def written(self) -> set[int]:
        return set(self.buffers[len(self.buffers) - self.results :])


def build_entry(steps: Sequence[Step], triple: str) -> str:
    """Audited LLVM IR of the entry module. Steps of one function agree in their numbers of buffers
    and dims. ``AivmcError`` for an architecture without a known floating-point environment."""
    text = str(_EntryModule(steps, triple).build())
    module = llvm.parse_assembly(text)
    module.verify()
    text = str(module)
    audit_entry(text, {step.function for step in steps})
    return text


class _Environment(Protocol):
    """A processor's floating-point environment, and its hint that a thread waits."""

    def enter(self, b: ir.IRBuilder) -> ir.Value: ...
    def leave(self, b: ir.IRBuilder, saved: ir.Value) -> None: ...
    def pause(self, b: ir.IRBuilder) -> None: ...


class _X86:
    """SSE and AVX are ruled by MXCSR. 0x1f80: nearest even, exceptions masked, no FTZ, no DAZ."""

    _DEFAULT = 0x1F80

    def enter(self, b: ir.IRBuilder) -> ir.Value:
        saved, default = b.alloca(_I32), b.alloca(_I32)
        _call_intrinsic(b, "llvm.x86.sse.stmxcsr", _VOID, saved)
        b.store(ir.Constant(_I32, self._DEFAULT), default)
        _call_intrinsic(b, "llvm.x86.sse.ldmxcsr", _VOID, default)
        return saved

    def leave(self, b: ir.IRBuilder, saved: ir.Value) -> None:
        _call_intrinsic(b, "llvm.x86.sse.ldmxcsr", _VOID, saved)

    def pause(self, b: ir.IRBuilder) -> None:
        _call_intrinsic(b, "llvm.x86.sse2.pause", _VOID)


class _AArch64:
    """FPCR. 0: nearest even, no flush to zero, no default NaN, no traps, no alternate rules."""

    def enter(self, b: ir.IRBuilder) -> ir.Value:
        saved = _call_intrinsic(b, "llvm.aarch64.get.fpcr", _I64)
        _call_intrinsic(b, "llvm.aarch64.set.fpcr", _VOID, _constant(0))
        return saved

    def leave(self, b: ir.IRBuilder, saved: ir.Value) -> None:
        _call_intrinsic(b, "llvm.aarch64.set.fpcr", _VOID, saved)

    def pause(self, b: ir.IRBuilder) -> None:
        _call_intrinsic(b, "llvm.aarch64.hint", _VOID, ir.Constant(_I32, 1))  # yield


class _RiscV:
    """frm, the rounding mode, is all there is. LLVM's 1: nearest even."""

    def enter(self, b: ir.IRBuilder) -> ir.Value:
        saved = _call_intrinsic(b, "llvm.get.rounding", _I32)
        _call_intrinsic(b, "llvm.set.rounding", _VOID, ir.Constant(_I32, 1))
        return saved

    def leave(self, b: ir.IRBuilder, saved: ir.Value) -> None:
        _call_intrinsic(b, "llvm.set.rounding", _VOID, saved)

    def pause(self, b: ir.IRBuilder) -> None:
        _call_intrinsic(b, "llvm.riscv.pause", _VOID)


_ARCHITECTURES: dict[str, type[_Environment]] = {
    "x86_64": _X86,
    "aarch64": _AArch64,
    "riscv64": _RiscV,
}


def _call_intrinsic(b: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return b.call(_declare(b.module, name, kind), arguments)


def _declare(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    existing = module.globals.get(name)
    return existing if existing is not None else ir.Function(module, kind, name)


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


class _EntryModule:
    def __init__(self, steps: Sequence[Step], triple: str) -> None:
        architecture = _ARCHITECTURES.get(triple.split("-")[0])
        if architecture is None:
            raise AivmcError(f"no floating-point environment is known for {triple}")
        self.cpu = architecture()
        self.steps = steps
        self.module = ir.Module("entry")
        self.module.triple = triple
        self.module.data_layout = str(llvm_target(triple).create_target_machine().target_data)

    def build(self) -> ir.Module:
        step_functions = [self._step(i, step) for i, step in enumerate(self.steps)]
        self.observers = {i: self._observer(i) for i, s in enumerate(self.steps) if s.traced}
        self.share = self._share()
        self.first_only = self._first_only()
        self.barrier = self._barrier()
        self.wake = self._wake()
        self.await_run = self._await_run()
        self.compute = self._compute(step_functions)
        self._run(self._run_alone(step_functions))
        self._worker()
        self._stop()
        return self.module

    # Functions of the module, callees first.

    def _step(self, index: int, step: Step) -> ir.Function:
        """Call the kernel function with the arguments that the context's tables hold."""
        function, b = self._define(f"step{index}", _STEP)
        context, scratch, begin, end = function.args
        buffers, dims = self._get(b, context, abi.BUFFERS), self._get(b, context, abi.DIMS)
        arguments = [
            *(b.load(_at(b, buffers, 8 * i), typ=_PTR) for i in step.buffers),
            *(b.load(_at(b, dims, 8 * i), typ=_I64) for i in step.dims),
            *(scratch, begin, end),
        ]
        kind = ir.FunctionType(_VOID, [a.type for a in arguments])
        kernel = _declare(self.module, step.function, kind)
        if kernel.function_type != kind:
            raise ValueError(f"steps disagree on the parameters of {step.function}")
        b.call(kernel, arguments)
        b.ret_void()
        return function

    def _observer(self, index: int) -> ir.Function:
        """Let the runtime do some of the tasks of looking at a step's results."""
        function, b = self._define(f"observe{index}", _STEP)
        context, _, begin, end = function.args
        kind = ir.FunctionType(_VOID, [_I64, _I64, _I64]).as_pointer()
        observe = self._get(b, context, abi.OBSERVE, kind)
        b.call(observe, [_constant(index), begin, end])
        b.ret_void()
        return function

    def _share(self) -> ir.Function:
        """Take chunks of a step's tasks until none is left."""
        kind = ir.FunctionType(_VOID, [_PTR, _I64, _STEP.as_pointer(), _PTR])
        function, b = self._define("share", kind)
        context, index, step, scratch = function.args
        tasks = b.load(_index(b, self._get(b, context, abi.TASKS), index), typ=_I64)
        counter = _index(b, self._get(b, context, abi.COUNTERS), index)
        chunks = b.mul(self._get(b, context, abi.THREADS, _I64), _constant(_CHUNKS_PER_THREAD))
        grain = _larger(b, b.udiv(tasks, chunks), _constant(1))
        loop, work, done = (function.append_basic_block(n) for n in ("loop", "work", "done"))
        b.branch(loop)
        b.position_at_end(loop)
        begin = b.atomic_rmw("add", counter, grain, "monotonic")
        b.cbranch(b.icmp_signed("<", begin, tasks), work, done)
        b.position_at_end(work)
        end = b.add(begin, grain)
        end = b.select(b.icmp_signed("<", end, tasks), end, tasks)
        b.call(step, [context, scratch, begin, end])
        b.branch(loop)
        b.position_at_end(done)
        b.ret_void()
        return function

    def _first_only(self) -> ir.Function:
        """Thread 0 does a whole step, the others nothing."""
        kind = ir.FunctionType(_VOID, [_PTR, _I64, _STEP.as_pointer(), _PTR, _I64])
        function, b = self._define("first_only", kind)
        context, index, step, scratch, thread = function.args
        with b.if_then(b.icmp_signed("==", thread, _constant(0))):
            tasks = b.load(_index(b, self._get(b, context, abi.TASKS), index), typ=_I64)
            b.call(step, [context, scratch, _constant(0), tasks])
        b.ret_void()
        return function

    def _barrier(self) -> ir.Function:
        """Arrive, then wait until ``target`` arrivals. The count only grows, so a late leaver
        cannot miss its moment."""
        function, b = self._define("barrier", ir.FunctionType(_VOID, [_PTR, _I64]))
        context, target = function.args
        arrivals = _at(b, context, abi.ARRIVALS)
        b.atomic_rmw("add", arrivals, _constant(1), "acq_rel")

        def arrived() -> ir.Value:
            return b.icmp_signed(">=", b.load_atomic(arrivals, "acquire", 8, typ=_I64), target)

        with self._spin(b, arrived, _BARRIER_SPINS) as (exhausted, finished):
            sched_yield = self._get(b, context, abi.YIELD, ir.FunctionType(_I32, []).as_pointer())
            b.call(sched_yield, [])
            b.cbranch(arrived(), finished, exhausted)
        b.ret_void()
        return function

    def _wake(self) -> ir.Function:
        """Announce a new epoch, and post the semaphores of sleeping workers."""
        function, b = self._define("wake", ir.FunctionType(_VOID, [_PTR]))
        (context,) = function.args
        b.atomic_rmw("add", _at(b, context, abi.EPOCH), _constant(1), "seq_cst")
        with self._each(b, _constant(1), self._get(b, context, abi.THREADS, _I64)) as thread:
            record = self._record(b, context, thread)
            asleep = b.atomic_rmw("xchg", _at(b, record, abi.SLEEPING), _constant(0), "seq_cst")
            with b.if_then(b.icmp_signed("==", asleep, _constant(1))):
                self._semaphore(b, context, abi.POST, record)
        b.ret_void()
        return function

    def _await_run(self) -> ir.Function:
        """Return when the epoch is no longer ``seen``: spin for a while, then sleep. Who clears the
        sleeping flag decides: if the waker did, it has posted, and the post must be consumed."""
        function, b = self._define("await_run", ir.FunctionType(_VOID, [_PTR, _I64, _I64]))
        context, thread, seen = function.args
        epoch = _at(b, context, abi.EPOCH)

        def begun() -> ir.Value:
            return b.icmp_signed("!=", b.load_atomic(epoch, "seq_cst", 8, typ=_I64), seen)

        with self._spin(b, begun, _IDLE_SPINS) as (_, finished):
            record = self._record(b, context, thread)
            sleeping = _at(b, record, abi.SLEEPING)
            withdraw, sleep = (function.append_basic_block(n) for n in ("withdraw", "sleep"))
            b.atomic_rmw("xchg", sleeping, _constant(1), "seq_cst")
            b.cbranch(begun(), withdraw, sleep)
            b.position_at_end(withdraw)
            flag = b.atomic_rmw("xchg", sleeping, _constant(0), "seq_cst")
            b.cbranch(b.icmp_signed("==", flag, _constant(1)), finished, sleep)
            b.position_at_end(sleep)
            result = self._semaphore(b, context, abi.WAIT, record)
            # Not 0: a signal interrupted the wait.
            woken = b.icmp_signed("==", result, ir.Constant(_I32, 0))
            b.cbranch(woken, finished, sleep)
        b.ret_void()
        return function

    def _compute(self, step_functions: Sequence[ir.Function]) -> ir.Function:
        """One thread's part of a run."""
        function, b = self._define("compute", ir.FunctionType(_VOID, [_PTR, _I64]))
        context, thread = function.args
        saved = self.cpu.enter(b)
        threads = self._get(b, context, abi.THREADS, _I64)
        stride = self._get(b, context, abi.SCRATCH_STRIDE, _I64)
        scratch = b.gep(
            self._get(b, context, abi.SCRATCH), [b.mul(thread, stride)], source_etype=ir.IntType(8)
        )
        arrivals = b.alloca(_I64)
        b.store(self._get(b, context, abi.BASE, _I64), arrivals)

        def barrier() -> None:
            b.store(b.add(b.load(arrivals, typ=_I64), threads), arrivals)
            b.call(self.barrier, [context, b.load(arrivals, typ=_I64)])

        def look(index: int) -> None:
            place = _constant(len(self.steps) + index)
            b.call(self.share, [context, place, self.observers[index], scratch])

        late = None  # a step that is looked at while the one after it runs
        for i, step in enumerate(self.steps):
            if late is not None:
                with b.if_then(self._is_observed(b, context), likely=False):
                    look(late)
            arguments = [context, _constant(i), step_functions[i], scratch]
            if step.parallel:
                b.call(self.share, arguments)
            else:
                b.call(self.first_only, [*arguments, thread])
            looked, late = late, i if step.traced and self._may_look_late(i) else None
            if step.traced and late is None:
                with b.if_then(self._is_observed(b, context), likely=False):
                    barrier()
                    look(i)
            if self._needs_barrier(i):
                barrier()
            elif step.traced or looked is not None:
                with b.if_then(self._is_observed(b, context), likely=False):
                    barrier()
        self.cpu.leave(b, saved)
        b.ret_void()
        return function

    def _may_look_late(self, index: int) -> bool:
        """Whether there is a step after it, which leaves its results as they are."""
        following = self.steps[index + 1 : index + 2]
        return any(step.written.isdisjoint(self.steps[index].written) for step in following)

    def _is_observed(self, b: ir.IRBuilder, context: ir.Value) -> ir.Value:
        return b.icmp_unsigned("!=", self._get(b, context, abi.OBSERVE), ir.Constant(_PTR, None))

    def _needs_barrier(self, index: int) -> bool:
        """Two steps of thread 0 in a row need none. The last step's ends the run."""
        following = self.steps[index + 1 : index + 2]
        return not following or self.steps[index].parallel or following[0].parallel

    def _run_alone(self, step_functions: Sequence[ir.Function]) -> ir.Function:
        """A run without other threads, so without atomic operations."""
        function, b = self._define("run_alone", ir.FunctionType(_VOID, [_PTR]))
        (context,) = function.args
        saved = self.cpu.enter(b)
        scratch = self._get(b, context, abi.SCRATCH)
        tasks = self._get(b, context, abi.TASKS)
        for i, step in enumerate(step_functions):
            end = b.load(_at(b, tasks, 8 * i), typ=_I64)
            b.call(step, [context, scratch, _constant(0), end])
            if i in self.observers:
                with b.if_then(self._is_observed(b, context), likely=False):
                    end = b.load(_at(b, tasks, 8 * (len(self.steps) + i)), typ=_I64)
                    b.call(self.observers[i], [context, scratch, _constant(0), end])
        self.cpu.leave(b, saved)
        b.ret_void()
        return function

    def _run(self, run_alone: ir.Function) -> None:
        function, b = self._define(abi.RUN, ir.FunctionType(_VOID, [_PTR]), exported=True)
        (context,) = function.args
        alone = b.icmp_signed("==", self._get(b, context, abi.THREADS, _I64), _constant(1))
        with b.if_else(alone) as (then, otherwise):
            with then:
                b.call(run_alone, [context])
            with otherwise:
                counters = self._get(b, context, abi.COUNTERS)
                steps = len(self.steps)
                count = b.select(
                    self._is_observed(b, context), _constant(2 * steps), _constant(steps)
                )
                with self._each(b, _constant(0), count) as i:
                    b.store(_constant(0), _index(b, counters, i))
                # All threads have passed the last run's barriers, so the number stands still.
                arrivals = self._get(b, context, abi.ARRIVALS, _I64)
                b.store(arrivals, _at(b, context, abi.BASE))
                b.call(self.wake, [context])
                b.call(self.compute, [context, _constant(0)])
        b.ret_void()

    def _worker(self) -> None:
        kind = ir.FunctionType(_VOID, [_PTR, _I64])
        function, b = self._define(abi.WORKER, kind, exported=True)
        context, thread = function.args
        start, loop, work, done = (
            b.block,
            *map(function.append_basic_block, ("loop", "work", "done")),
        )
        b.branch(loop)
        b.position_at_end(loop)
        seen = b.phi(_I64)
        seen.add_incoming(_constant(0), start)
        b.call(self.await_run, [context, thread, seen])
        stopping = self._get(b, context, abi.STOPPING, _I64)
        b.cbranch(b.icmp_signed("!=", stopping, _constant(0)), done, work)
        b.position_at_end(work)
        b.call(self.compute, [context, thread])
        seen.add_incoming(b.add(seen, _constant(1)), work)
        b.branch(loop)
        b.position_at_end(done)
        b.ret_void()

    def _stop(self) -> None:
        function, b = self._define(abi.STOP, ir.FunctionType(_VOID, [_PTR]), exported=True)
        (context,) = function.args
        b.store(_constant(1), _at(b, context, abi.STOPPING))
        b.call(self.wake, [context])
        b.ret_void()

    # Pieces of functions.

    def _define(
        self, name: str, kind: ir.FunctionType, *, exported: bool = False
    ) -> tuple[ir.Function, ir.IRBuilder]:
        # Prefixed, as the names of kernel functions share the module.
        function = ir.Function(self.module, kind, name if exported else f"aivm.{name}")
        if not exported:
            function.linkage = "internal"
        return function, ir.IRBuilder(function.append_basic_block("start"))

    def _get(
        self, b: ir.IRBuilder, context: ir.Value, offset: int, kind: ir.Type = _PTR
    ) -> ir.Value:
        return b.load(_at(b, context, offset), typ=kind)

    def _record(self, b: ir.IRBuilder, context: ir.Value, thread: ir.Value) -> ir.Value:
        offset = b.mul(thread, _constant(abi.THREAD_RECORD_BYTES))
        records = self._get(b, context, abi.THREAD_RECORDS)
        return b.gep(records, [offset], source_etype=ir.IntType(8))

    def _semaphore(
        self, b: ir.IRBuilder, context: ir.Value, function: int, record: ir.Value
    ) -> ir.Value:
        kind = ir.FunctionType(_I32, [_PTR]).as_pointer()
        return b.call(self._get(b, context, function, kind), [_at(b, record, abi.SEMAPHORE)])

    @contextmanager
    def _spin(
        self, b: ir.IRBuilder, condition: Callable[[], ir.Value], spins: int
    ) -> Iterator[tuple[ir.Block, ir.Block]]:
        """Check ``condition`` up to ``spins`` times with a pause between. The body of the ``with``
        is what to do after that; it gets its own block and the one to leave to, where the builder
        stands afterwards."""
        start = b.block
        loop, pause, exhausted, finished = (
            b.append_basic_block(n) for n in ("spin", "pause", "exhausted", "finished")
        )
        b.branch(loop)
        b.position_at_end(loop)
        count = b.phi(_I64)
        count.add_incoming(_constant(0), start)
        b.cbranch(condition(), finished, pause)
        b.position_at_end(pause)
        self.cpu.pause(b)
        following = b.add(count, _constant(1))
        count.add_incoming(following, pause)
        b.cbranch(b.icmp_signed("<", following, _constant(spins)), loop, exhausted)
        b.position_at_end(exhausted)
        yield exhausted, finished
        b.position_at_end(finished)

    @contextmanager
    def _each(self, b: ir.IRBuilder, first: ir.Value, end: ir.Value) -> Iterator[ir.Value]:
        """A loop over ``first <= i < end``; the body of the ``with`` gets ``i``."""
        start = b.block
        loop, body, done = (b.append_basic_block(n) for n in ("loop", "body", "done"))
        b.branch(loop)
        b.position_at_end(loop)
        i = b.phi(_I64)
        i.add_incoming(first, start)
        b.cbranch(b.icmp_signed("<", i, end), body, done)
        b.position_at_end(body)
        yield i
        i.add_incoming(b.add(i, _constant(1)), b.block)
        b.branch(loop)
        b.position_at_end(done)


def _at(b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
    """The address ``offset`` bytes after ``pointer``."""
    return b.gep(pointer, [_constant(offset)], source_etype=ir.IntType(8))


def _index(b: ir.IRBuilder, pointer: ir.Value, index: ir.Value) -> ir.Value:
    """The address of the i64 number ``index`` from ``pointer``."""
    return b.gep(pointer, [index], source_etype=_I64)


def _larger(b: ir.IRBuilder, a: ir.Value, other: ir.Value) -> ir.Value:
    return b.select(b.icmp_signed(">", a, other), a, other)
