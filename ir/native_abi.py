"""The contract between a kernel's native entry module and the runtime that calls it.

The object exports three C functions:

- ``void aivm_run(ptr context)`` runs all steps once; the caller is thread 0;
- ``void aivm_worker(ptr context, i64 thread)`` serves runs as another thread, until stopped;
- ``void aivm_stop(ptr context)`` makes the workers return; no run may be under way.

A context is ``CONTEXT_BYTES`` of zeroed memory, aligned to ``ALIGNMENT``, of 8-byte words at the
offsets below. Words before ``EPOCH`` are the runtime's to set, the rest belongs to the module.
"""

from __future__ import annotations

RUN = "aivm_run"
WORKER = "aivm_worker"
STOP = "aivm_stop"

ALIGNMENT = 64  # a cache line
CONTEXT_BYTES = 256

THREADS = 0  # i64: threads that run steps, thread 0 included
BUFFERS = 8  # ptr to ptr[]: every buffer's address, by its number
DIMS = 16  # ptr to i64[]: every dim's value, by its number
TASKS = 24  # ptr to i64[]: number of tasks, by step
SCRATCH = 32  # ptr: scratch memory of thread 0
SCRATCH_STRIDE = 40  # i64: bytes from one thread's scratch to the next one's
COUNTERS = 48  # ptr to i64[]: next task, by step; memory for the module's use
THREAD_RECORDS = 56  # ptr to a record of THREAD_RECORD_BYTES per thread, zeroed, semaphore ready
WAIT = 64  # ptr: int sem_wait(sem_t *)
POST = 72  # ptr: int sem_post(sem_t *)
YIELD = 80  # ptr: int sched_yield(void)
# ptr: void observe(i64 step, i64 begin, i64 end), or null. Not null, it is called after each traced
# step, while what the step has left is there, for all of as many tasks as TASKS has for it after
# those of all steps (so that this table, and that of COUNTERS, is twice as long): by any thread, in
# any order, and with several threads while the next step runs.
OBSERVE = 88

EPOCH = 128  # i64: runs begun
STOPPING = 136  # i64: 1 when workers are to return
BASE = 144  # i64: arrivals before the run that was begun last
ARRIVALS = 192  # i64: arrivals at barriers since the context was made

THREAD_RECORD_BYTES = 128
SLEEPING = 0  # i64 in a record: 1 while the worker waits on its semaphore, or is about to
SEMAPHORE = 64  # sem_t in a record
