"""The contract between a kernel's translated code and the device that runs it.

The code exports ``run``, which takes the address of a context: 8-byte words, in this order. Words
from ``fault`` on are the code's to write; the others, and what they point at, the device's.
"""

from __future__ import annotations

from enum import IntEnum

RUN = "run"

WORDS = (
    "buffers",  # to {address, size in bytes} of each buffer; number 0 has size 0
    "buffer_count",
    "parameters",  # to the bytes of all arguments
    "shared",  # to a block's shared memory
    "writers",  # to an i32 for each granule of shared memory: who wrote it, and when
    "readers",  # likewise
    "states",  # to what threads keep while they wait at a barrier: registers, local memory
    "block_order",  # to an i32 for each block: its number
    "thread_order",  # likewise, of the threads of a block
    "block_count",
    "thread_count",
    *(f"{size}.{axis}" for size in ("nctaid", "ntid") for axis in "xyz"),
    "fault",  # a Fault
    "fault_at",  # number of the instruction
    "fault_address",
    "fault_block",
    "fault_thread",
    "fault_other",  # for a race, who came first; for divergence, where the others are
)
OFFSETS = {name: 8 * i for i, name in enumerate(WORDS)}

# A device address is a buffer's number and an offset in it: no offset of one buffer, however wrong,
# is in another.
OFFSET_BITS = 40
BUFFER_ALIGNMENT = 256  # of the real address, as of cuMemAlloc

FRESH = 0xA5  # bytes of memory that nothing has been written to

# An entry of `writers` or `readers` is a barrier interval, counted from 1 in each block, and a
# thread in its low bits. 0 says that nobody has.
THREAD_BITS = 11
MANY_THREADS = (1 << THREAD_BITS) - 1
MOST_INTERVALS = 1 << (32 - THREAD_BITS)


class Fault(IntEnum):
    """What stopped a launch."""

    NONE = 0
    GLOBAL_ADDRESS = 1
    SHARED_ADDRESS = 2
    READ_RACE = 3  # reads what another thread wrote since the last barrier
    WRITE_RACE = 4  # writes what another thread wrote or read since the last barrier
    UNINITIALIZED = 5
    LOCAL_ADDRESS = 6
    DIVISION = 7
    DIVERGENCE = 8
    INTERVALS = 9
