"""The code around a kernel's thread function: blocks, threads, barriers, and the watch on memory.

All threads of a block run to the next barrier, one after the other in the order given; then all go
on from there. Where they don't all meet at one barrier, or some have ended, that is divergence.
"""

from __future__ import annotations

from aivmc.ptx.context import (
    MANY_THREADS,
    MOST_INTERVALS,
    OFFSETS,
    RUN,
    THREAD_BITS,
    WORDS,
    Fault,
)
from aivmc.ptx.translate import PARAMETERS, Translation

_WIDEST = 16  # bytes of an access


def module_text(translation: Translation, triple: str, shared_bytes: int) -> str:
    """LLVM IR of a module that exports ``run`` of :mod:`aivmc.ptx.context`."""
    lanes = [n for n in (1, 2, 4, 8, 16) if n * translation.granule <= _WIDEST]
    granules = -(-shared_bytes // translation.granule)
    return "\n".join(
        [
            f'target triple = "{triple}"',
            _fault(),
            *(watch(n) for n in lanes for watch in (_shared_read, _shared_write)),
            *translation.lines,
            _run(translation.state_bytes, 4 * granules),
            *sorted(translation.declarations),
            "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
            '!0 = !{!"branch_weights", i32 1048576, i32 1}',
            "!1 = !{}",
            "",
        ]
    )


def _store_words(values: dict[str, str]) -> str:
    return "\n".join(
        f"  %to.{name} = getelementptr i8, ptr %context, i64 {OFFSETS[name]}\n"
        f"  store i64 {value}, ptr %to.{name}"
        for name, value in values.items()
    )


def _fault() -> str:
    """``tag`` and ``other`` are as in ``writers``; of ``other`` the whole is kept."""
    words = {
        "fault": "%kind64",
        "fault_at": "%at",
        "fault_address": "%address",
        "fault_thread": "%thread64",
        "fault_other": "%other64",
    }
    return f"""
define internal void @fault(ptr %context, i32 %kind, i64 %at, i64 %address, i32 %tag, i32 %other)
    noinline cold {{
  %kind64 = zext i32 %kind to i64
  %thread = and i32 %tag, {MANY_THREADS}
  %thread64 = zext i32 %thread to i64
  %other64 = zext i32 %other to i64
{_store_words(words)}
  ret void
}}"""


def _shared_read(lanes: int) -> str:
    """Zero, or a fault and, in the upper half, who wrote one of the granules."""
    vector = f"<{lanes} x i32>"
    return f"""
define internal i64 @shared_read_{lanes}(ptr %writers, ptr %readers, i64 %first, i32 %tag)
    alwaysinline {{
{_entries(lanes)}
  %empty = icmp eq {vector} %written, zeroinitializer
  %bad = or <{lanes} x i1> %write.race, %empty
  %many = or {vector} %tags, splat (i32 {MANY_THREADS})
  %reader = select <{lanes} x i1> %read.race, {vector} %many, {vector} %tags
  store {vector} %reader, ptr %readers.at, align 4
{_verdict(lanes, "%written")}
  %none = icmp eq i32 %entry, 0
  %kind = select i1 %none, i64 {Fault.UNINITIALIZED:d}, i64 {Fault.READ_RACE:d}
{_found()}"""


def _shared_write(lanes: int) -> str:
    vector = f"<{lanes} x i32>"
    return f"""
define internal i64 @shared_write_{lanes}(ptr %writers, ptr %readers, i64 %first, i32 %tag)
    alwaysinline {{
{_entries(lanes)}
  %bad = or <{lanes} x i1> %write.race, %read.race
  %first.others = select <{lanes} x i1> %write.race, {vector} %written, {vector} %read
  store {vector} %tags, ptr %writers.at, align 4
{_verdict(lanes, "%first.others")}
  %kind = add i64 0, {Fault.WRITE_RACE:d}
{_found()}"""


def _entries(lanes: int) -> str:
    """Who wrote and who read since the last barrier, and whether that was another thread."""
    vector = f"<{lanes} x i32>"
    text = f"""  %start = and i32 %tag, {-1 - MANY_THREADS}
  %start.0 = insertelement {vector} poison, i32 %start, i32 0
  %starts = shufflevector {vector} %start.0, {vector} poison, {vector} zeroinitializer
  %tag.0 = insertelement {vector} poison, i32 %tag, i32 0
  %tags = shufflevector {vector} %tag.0, {vector} poison, {vector} zeroinitializer"""
    for table, entry, race in (("writers", "written", "write"), ("readers", "read", "read")):
        text += f"""
  %{table}.at = getelementptr i32, ptr %{table}, i64 %first
  %{entry} = load {vector}, ptr %{table}.at, align 4
  %{race}.recent = icmp uge {vector} %{entry}, %starts
  %{race}.foreign = icmp ne {vector} %{entry}, %tags
  %{race}.race = and <{lanes} x i1> %{race}.recent, %{race}.foreign"""
    return text


def _verdict(lanes: int, entries: str) -> str:
    return f"""  %mask = bitcast <{lanes} x i1> %bad to i{lanes}
  %good = icmp eq i{lanes} %mask, 0
  br i1 %good, label %done, label %found, !prof !0
done:
  ret i64 0
found:
  %wide.mask = zext i{lanes} %mask to i32
  %lane = call i32 @llvm.cttz.i32(i32 %wide.mask, i1 true)
  %entry = extractelement <{lanes} x i32> {entries}, i32 %lane"""


def _found() -> str:
    return """  %entry64 = zext i32 %entry to i64
  %upper = shl i64 %entry64, 32
  %result = or i64 %upper, %kind
  ret i64 %result
}"""


def _run(state_bytes: int, watch_bytes: int) -> str:
    loads = "\n".join(
        f"  %at.{name} = getelementptr i8, ptr %context, i64 {OFFSETS[name]}\n"
        f"  %word.{name} = load i64, ptr %at.{name}"
        for name in WORDS
        if not name.startswith("fault")
    )
    pointers = "\n".join(
        f"  %{name} = inttoptr i64 %word.{name} to ptr"
        for name in (
            *("buffers", "parameters", "shared", "writers", "readers", "states"),
            *("block_order", "thread_order"),
        )
    )
    sizes = "\n".join(
        f"  %{size}.{axis} = trunc i64 %word.{size}.{axis} to i32"
        for size in ("nctaid", "ntid")
        for axis in "xyz"
    )
    arguments = ", ".join(f"{kind} {name}" for kind, name in PARAMETERS)
    divergence = {
        "fault": f"{Fault.DIVERGENCE:d}",
        "fault_at": "%reached64",
        "fault_thread": "%thread64",
        "fault_other": "%expected64",
    }
    return f"""
define void @{RUN}(ptr %context) {{
entry:
{loads}
{pointers}
{sizes}
  %buffer_count = add i64 %word.buffer_count, 0
  br label %blocks
blocks:
  %block.i = phi i64 [0, %entry], [%block.next, %block.end]
  %more = icmp ult i64 %block.i, %word.block_count
  br i1 %more, label %block, label %return
block:
  %block.at = getelementptr i32, ptr %block_order, i64 %block.i
  %block.number = load i32, ptr %block.at
  %block.number64 = zext i32 %block.number to i64
  %to.fault_block = getelementptr i8, ptr %context, i64 {OFFSETS["fault_block"]}
  store i64 %block.number64, ptr %to.fault_block
{_coordinates("ctaid", "nctaid", "%block.number")}
  call void @llvm.memset.p0.i64(ptr %writers, i8 0, i64 {watch_bytes}, i1 false)
  call void @llvm.memset.p0.i64(ptr %readers, i8 0, i64 {watch_bytes}, i1 false)
  br label %intervals
intervals:
  %interval = phi i32 [1, %block], [%interval.next, %interval.end]
  %resume = phi i32 [0, %block], [%reached, %interval.end]
  %interval.tag = shl i32 %interval, {THREAD_BITS}
  br label %threads
threads:
  %thread.i = phi i64 [0, %intervals], [%thread.next, %met]
  %expected = phi i32 [0, %intervals], [%reached, %met]
  %thread.at = getelementptr i32, ptr %thread_order, i64 %thread.i
  %thread = load i32, ptr %thread.at
  %thread64 = zext i32 %thread to i64
{_coordinates("tid", "ntid", "%thread")}
  %state.offset = mul i64 %thread64, {state_bytes}
  %state = getelementptr i8, ptr %states, i64 %state.offset
  %tag = or i32 %interval.tag, %thread
  %reached = call i32 @thread({arguments})
  %faulted = icmp slt i32 %reached, 0
  br i1 %faulted, label %return, label %ran, !prof !2
ran:
  %first = icmp eq i64 %thread.i, 0
  %same = icmp eq i32 %reached, %expected
  %together = or i1 %first, %same
  br i1 %together, label %met, label %diverged, !prof !0
met:
  %thread.next = add i64 %thread.i, 1
  %last = icmp eq i64 %thread.next, %word.thread_count
  br i1 %last, label %interval.end, label %threads
interval.end:
  %interval.next = add i32 %interval, 1
  %ended = icmp eq i32 %reached, 0
  %many = icmp eq i32 %interval.next, {MOST_INTERVALS}
  %stop = or i1 %ended, %many
  br i1 %stop, label %block.end.or.fault, label %intervals
block.end.or.fault:
  br i1 %ended, label %block.end, label %too.many
block.end:
  %block.next = add i64 %block.i, 1
  br label %blocks
diverged:
  %reached64 = zext i32 %reached to i64
  %expected64 = zext i32 %expected to i64
{_store_words(divergence)}
  br label %return
too.many:
  %to.fault.many = getelementptr i8, ptr %context, i64 {OFFSETS["fault"]}
  store i64 {Fault.INTERVALS:d}, ptr %to.fault.many
  br label %return
return:
  ret void
}}
!2 = !{{!"branch_weights", i32 1, i32 1048576}}
declare i32 @llvm.cttz.i32(i32, i1)"""


def _coordinates(name: str, size: str, number: str) -> str:
    """``number`` as x, y and z in a box, x fastest."""
    return f"""  %{name}.x = urem i32 {number}, %{size}.x
  %{name}.yz = udiv i32 {number}, %{size}.x
  %{name}.y = urem i32 %{name}.yz, %{size}.y
  %{name}.z = udiv i32 %{name}.yz, %{size}.y"""
