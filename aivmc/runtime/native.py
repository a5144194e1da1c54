"""Executes the object code of a kernel in this process, with threads of its own.

No linker, no compiler and no file takes part. The code itself sets the floating-point environment
on every thread that computes and restores it, and gives the same bytes with any number of threads.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt

from aivmc.ir import native_abi as abi
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.errors import IntegrityError

Words = npt.NDArray[np.int64]
Parts = tuple[Sequence[int], Callable[[int, int, int], object]]
"""What is to be done after each step, by all threads: how many parts of it there are, and what does
those of a step from one on to another."""


_OBSERVE = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class NativeKernel:
    """Object code, loaded, with the tables and threads that it runs with.

    Calls from several Python threads are served one after the other. After a fork, the child makes
    threads of its own at its first run. The threads end with :meth:`close`, with the last reference
    to the kernel, or with the interpreter.
    """

    def __init__(
        self, object_code: bytes, *, buffers: int, dims: int, steps: int, threads: int = 1
    ) -> None:
        """``buffers``, ``dims`` and ``steps`` are the sizes of the tables that the code reads.
        ``IntegrityError`` where the bytes are not a kernel's code, ``AivmcError`` where there are
        no threads."""
        if threads < 1:
            raise AivmcError(f"a kernel runs on at least 1 thread, not {threads}")
        self._code = _Code(object_code)
        self._sizes = (threads, buffers, dims, steps)
        self._lock = threading.Lock()
        self._context: _Context | None = None
        _live.add(self)

    def run(
        self,
        buffers: tuple[int, ...],
        dims: tuple[int, ...],
        tasks: tuple[int, ...],
        scratch_bytes: int = 0,
        parts: Parts | None = None,
    ) -> None:
        """Run all steps once. ``buffers`` are addresses, ``dims`` values, ``tasks`` numbers of
        tasks by step; that they are right for the code is the caller's duty. Each thread has
        ``scratch_bytes`` of scratch memory. ``parts`` are done after each traced step, on all
        threads, while its results are there; the first error that they raise is raised in the end.
        """
        with self._lock:
            context = self._context
            if context is None:
                context = self._context = _Context(self._code, *self._sizes)
            arguments = (buffers, dims, tasks, scratch_bytes)
            if arguments != context.bound:
                context.bind(*arguments)
            if parts is None:
                self._code.run(context.address)
            else:
                context.run_observed(self._code, parts)

    def close(self) -> None:
        """End the threads and free the scratch memory. A later run starts anew."""
        with self._lock:
            if self._context is not None:
                self._context.end()
                self._context = None

    def _forget_threads(self) -> None:
        self._lock = threading.Lock()
        self._context = None


class _Code:
    """The functions of a loaded object, which live as long as this."""

    def __init__(self, object_code: bytes) -> None:
        if not object_code.startswith(b"\x7fELF"):  # at which LLVM would crash
            raise IntegrityError("the kernel's native code is not an ELF object")
        _initialize_llvm()
        machine = llvm.Target.from_default_triple().create_target_machine(
            jit=True, codemodel="jitdefault"
        )
        # JITLink puts all sections into one block of memory, as code reaches its constants by
        # 32-bit offsets. LLVM's older linker may scatter them.
        jit = llvm.create_lljit_compiler(machine, use_jit_link=True, suppress_errors=True)
        library = llvm.JITLibraryBuilder().add_object_img(object_code).add_current_process()
        try:
            self._linked = library.link(jit, "kernel")  # which keeps the code in memory
            # One after the other: together, chance decides which of several missing ones is named.
            self._found = [jit.lookup("kernel", n) for n in (abi.RUN, abi.WORKER, abi.STOP)]
        except RuntimeError as error:
            raise IntegrityError(f"the kernel's native code can't be loaded: {error}") from None
        run, worker, stop = self._found
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(run[abi.RUN])
        self.worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(worker[abi.WORKER])
        self.stop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(stop[abi.STOP])

    def work(self, context: int, thread: int) -> None:
        """A worker thread's life. A bound method, so that the thread keeps the code alive."""
        self.worker(context, thread)


class _Context:
    """What aivmc.ir.native_abi calls a context, with its tables and worker threads."""

    def __init__(self, code: _Code, threads: int, buffers: int, dims: int, steps: int) -> None:
        self._threads = threads
        tasks = np.zeros(2 * steps, np.int64)  # of the steps, and of observing them
        self._tables = (np.zeros(buffers, np.int64), np.zeros(dims, np.int64), tasks[:steps])
        self._observing = tasks[steps:]
        self.bound: tuple[object, ...] = ()
        self._stride = -1
        counters = np.zeros(2 * steps, np.int64)
        records = _aligned_words(threads * abi.THREAD_RECORD_BYTES)
        self._words = _aligned_words(abi.CONTEXT_BYTES)
        self.address = self._words.ctypes.data
        self._set(abi.THREADS, threads)
        for offset, table in zip((abi.BUFFERS, abi.DIMS, abi.TASKS), self._tables, strict=True):
            self._set(offset, table.ctypes.data)
        self._set(abi.COUNTERS, counters.ctypes.data)
        self._set(abi.THREAD_RECORDS, records.ctypes.data)
        libc = _libc()
        for offset, function in (
            (abi.WAIT, libc.sem_wait),
            (abi.POST, libc.sem_post),
            (abi.YIELD, libc.sched_yield),
        ):
            self._set(offset, ctypes.cast(function, ctypes.c_void_p).value or 0)
        for i in range(threads):
            semaphore = records.ctypes.data + i * abi.THREAD_RECORD_BYTES + abi.SEMAPHORE
            libc.sem_init(ctypes.c_void_p(semaphore), 0, 0)
        workers = [
            threading.Thread(target=code.work, args=(self.address, i), daemon=True)
            for i in range(1, threads)
        ]
        for worker in workers:
            worker.start()
        # Holds the memory that the workers use until they have ended; runs at exit at the latest.
        memory = (self._words, *self._tables, counters, records)
        self.end = weakref.finalize(self, _end_workers, code, self.address, workers, memory)

    def bind(
        self,
        buffers: tuple[int, ...],
        dims: tuple[int, ...],
        tasks: tuple[int, ...],
        scratch_bytes: int,
    ) -> None:
        """Fill the tables for the runs to come."""
        before, self.bound = self.bound or (None,) * 3, ()
        for table, values, old in zip(self._tables, (buffers, dims, tasks), before):
            if len(values) != len(table):
                raise ValueError(f"{len(values)} values for a table of {len(table)}")
            if values != old:
                table[:] = values
        stride = -(-scratch_bytes // abi.ALIGNMENT) * abi.ALIGNMENT
        if stride != self._stride:
            self._scratch = _aligned_words(self._threads * stride)
            self._set(abi.SCRATCH, self._scratch.ctypes.data)
            self._set(abi.SCRATCH_STRIDE, stride)
            self._stride = stride
        self.bound = (buffers, dims, tasks, scratch_bytes)

    def run_observed(self, code: _Code, parts: Parts) -> None:
        """Run, with ``parts`` after the steps."""
        self._observing[:], do = parts
        errors: list[BaseException] = []

        def observe(step: int, begin: int, end: int) -> None:
            try:
                do(step, begin, end)
            except BaseException as error:  # C can't pass it on
                errors.append(error)

        callback = _OBSERVE(observe)
        self._set(abi.OBSERVE, ctypes.cast(callback, ctypes.c_void_p).value or 0)
        try:
            code.run(self.address)
        finally:
            self._set(abi.OBSERVE, 0)
        if errors:
            raise errors[0]

    def _set(self, offset: int, value: int) -> None:
        self._words[offset // 8] = value


def _end_workers(
    code: _Code, context: int, workers: list[threading.Thread], memory: tuple[Words, ...]
) -> None:
    code.stop(context)
    for worker in workers:
        worker.join()


def _aligned_words(size: int) -> Words:
    """Zeroed memory of ``size`` bytes, a multiple of 8, that starts a cache line."""
    raw = np.zeros(size + abi.ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % abi.ALIGNMENT
    return raw[start : start + size].view(np.int64)


@cache
def _initialize_llvm() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


_live: weakref.WeakSet[NativeKernel] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for kernel in list(_live):
        kernel._forget_threads()


os.register_at_fork(after_in_child=_after_fork_in_child)
