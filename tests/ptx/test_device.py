"""The executor runs grids, blocks, barriers and memory as a GPU does, and stops at what a GPU
leaves undefined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from aivmc.ptx.device import Device
from aivmc.ptx.errors import DeviceError, KernelFault
from aivmc.ptx.instructions import instructions
from tests.float_environment import ENVIRONMENT, HOSTILE
from tests.ptx.text import kernel, lines, module

ORDERS = (0, 1, 2, 3)


def launch(
    text: str,
    out_bytes: int = 4096,
    block: Sequence[int] = (32,),
    grid: Sequence[int] = (1,),
    order: int = 0,
    inputs: Sequence[bytes] = (),
    canonical_nan: bool = True,
) -> bytes:
    """What the kernel ``k`` writes to its last parameter, after one for each input."""
    device = Device(order, canonical_nan)
    loaded = device.load(text)
    addresses = [device.allocate(len(data)) for data in inputs]
    for address, data in zip(addresses, inputs):
        device.write(address, data)
    out = device.allocate(out_bytes)
    device.write(out, bytes(out_bytes))
    loaded.launch("k", grid, block, [*addresses, out])
    return device.read(out, out_bytes)


def simple(body: str, shared: str = "", parameters: Sequence[str] = ("u64",)) -> str:
    """``%r0`` is the thread, ``%d0`` where the thread's word of the output is."""
    start = (
        "ld.param.u64 %d1, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %d2, %r0, 4;"
        "add.s64 %d0, %d1, %d2"
    )
    return module(kernel(shared + lines(start) + lines(body), parameters))


def test_special_registers_and_the_order_of_blocks_and_threads() -> None:
    names = [f"%{size}.{axis}" for size in ("tid", "ctaid", "ntid", "nctaid") for axis in "xyz"]
    reads = ";".join(
        f"mov.u32 %r1, {name}; st.global.u32 [%d0+{4 * i}], %r1" for i, name in enumerate(names)
    )
    # The number of the thread in all, from coordinates, x fastest.
    number = (
        "mov.u32 %r0, %tid.z; mov.u32 %r1, %ntid.y; mov.u32 %r2, %tid.y;"
        "mad.lo.u32 %r0, %r0, %r1, %r2; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x;"
        "mad.lo.u32 %r0, %r0, %r1, %r2; mov.u32 %r3, %ctaid.z; mov.u32 %r4, %nctaid.y;"
        "mov.u32 %r5, %ctaid.y; mad.lo.u32 %r3, %r3, %r4, %r5; mov.u32 %r4, %nctaid.x;"
        "mov.u32 %r5, %ctaid.x; mad.lo.u32 %r3, %r3, %r4, %r5; mad.lo.u32 %r0, %r3, 24, %r0;"
        "ld.param.u64 %d1, [p0]; mul.wide.u32 %d2, %r0, 48; add.s64 %d0, %d1, %d2"
    )
    text = module(kernel(lines(f"{number}; {reads}; ret"), ("u64",)))
    grid, block = (2, 3, 2), (4, 3, 2)
    expected = [
        (x, y, z, bx, by, bz, *block, *grid)
        for bz in range(2)
        for by in range(3)
        for bx in range(2)
        for z in range(2)
        for y in range(3)
        for x in range(4)
    ]
    for order in ORDERS:
        data = launch(text, 48 * 288, block, grid, order)
        assert np.frombuffer(data, np.uint32).reshape(288, 12).tolist() == [
            list(row) for row in expected
        ]


def test_shared_memory_and_registers_live_through_barriers_in_a_loop() -> None:
    """Each round a thread adds what its neighbour put into shared memory."""
    shared = "\t.shared .align 4 .b8 sh[128];\n"
    body = lines(
        "ld.param.u64 %d1, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %d2, %r0, 4;"
        "add.s64 %d0, %d1, %d2; mov.u64 %d3, sh; add.s64 %d4, %d3, %d2; add.s32 %r1, %r0, 1;"
        "and.b32 %r1, %r1, 31; mul.wide.u32 %d5, %r1, 4; add.s64 %d5, %d3, %d5;"
        "mov.u32 %r2, %r0; mov.u32 %r3, 0; mov.b16 %h1, 7; setp.lt.u32 %p1, %r0, 16"
    )
    body += lines(
        "loop: st.shared.u32 [%d4], %r2; bar.sync 0; ld.shared.u32 %r4, [%d5];"
        "add.s32 %r2, %r2, %r4; add.s32 %r3, %r3, 1; bar.sync 0; setp.lt.u32 %p2, %r3, 5;"
        "@%p2 bra loop; cvt.u32.u16 %r5, %h1; add.s32 %r2, %r2, %r5; @!%p1 add.s32 %r2, %r2, 1000;"
        "st.global.u32 [%d0], %r2; ret"
    )
    values = np.arange(32)
    for _ in range(5):
        values = values + np.roll(values, -1)
    values = values + 7 + np.where(np.arange(32) < 16, 0, 1000)
    text = module(kernel(shared + body, ("u64",)))
    for order in ORDERS:
        found = np.frombuffer(launch(text, 128, order=order, grid=(3,)), np.uint32)
        assert found.tolist() == values.tolist()


@pytest.mark.parametrize("space", ["global", "shared", "local", "shared by b32", "local by b32"])
@pytest.mark.parametrize(
    ("kind", "lanes"),
    [
        (kind, lanes)
        for kind in ("b8", "u8", "s8", "b16", "s16", "b32", "f32", "b64", "f64")
        for lanes in (1, 2, 4)
        if f"ld.global.v{lanes}.{kind}".replace(".v1", "") in instructions()
    ],
)
def test_loads_and_stores(kind: str, lanes: int, space: str) -> None:
    """A round trip through wider registers; loads extend by the type's sign."""
    size = int(kind[1:]) // 8
    values = bytes((0x70 + 5 * i) % 256 for i in range(16 * lanes * size))
    wide = "d" if kind[0] != "f" or kind == "f64" else "r"
    registers = [f"%{wide}{i + 10}" for i in range(lanes)]
    vector = f".v{lanes}" if lanes > 1 else ""
    listed = "{" + ", ".join(registers) + "}" if lanes > 1 else registers[0]
    body = (
        "ld.param.u64 %d0, [p0]; ld.param.u64 %d1, [p1]; mov.u32 %r0, %tid.x;"
        f"mul.wide.u32 %d2, %r0, {lanes * size}; add.s64 %d0, %d0, %d2;"
        f"mul.wide.u32 %d3, %r0, {8 * lanes}; add.s64 %d1, %d1, %d3;"
        f"ld.global{vector}.{kind} {listed}, [%d0]"
    )
    if space != "global":
        space, _, narrow = space.partition(" by ")
        place = "mov.u64 %d4, own; add.s64 %d4, %d4, %d2", "%d4"
        if narrow:
            scaled = f"mul.lo.u32 %r2, %r0, {lanes * size}"
            place = f"mov.b32 %r1, own; {scaled}; add.s32 %r3, %r1, %r2", "%r3"
        body += (
            f"; {place[0]}; st.{space}{vector}.{kind} [{place[1]}], {listed};"
            f"ld.{space}{vector}.{kind} {listed}, [{place[1]}]"
        )
    declared = f"\t.{'local' if space == 'local' else 'shared'} .align 16 .b8 own[256];\n"
    stores = "".join(
        f"; st.global.b{64 if wide == 'd' else 32} [%d1+{8 * i}], {r}"
        for i, r in enumerate(registers)
    )
    text = module(kernel(declared + lines(body + stores + "; ret"), ("u64", "u64")))
    found = np.frombuffer(launch(text, 8 * lanes * 16, (16,), inputs=[values]), np.uint64)
    dtype = f"<{'i' if kind[0] == 's' else 'u'}{size}"
    expected = np.frombuffer(values, dtype)[: 16 * lanes]
    assert found.tolist() == expected.astype(np.int64).astype(np.uint64).tolist()


def test_local_memory_is_a_threads_own_and_lives_through_barriers() -> None:
    text = simple(
        ".local .align 4 .b8 a[4]; .local .align 8 .b8 b[8]; st.local.u32 [a], %r0; bar.sync 0;"
        "mov.u64 %d3, b; cvt.u64.u32 %d4, %r0; st.local.u64 [%d3], %d4; bar.sync 0;"
        "ld.local.u32 %r1, [a]; ld.local.u32 %r2, [%d3]; mad.lo.u32 %r1, %r1, 100, %r2;"
        "st.global.u32 [%d0], %r1; ret"
    )
    for order in ORDERS:
        found = np.frombuffer(launch(text, 128, order=order, grid=(2,)), np.uint32)
        assert found.tolist() == [101 * i for i in range(32)]


def test_moves_of_parts() -> None:
    text = simple(
        "mov.b64 %d3, {%r0, 7}; mov.b64 {%r1, %r2}, %d3; mov.b64 {_, %r3}, %d3;"
        "mov.b32 {%h0, %h1}, 0x12345678; mov.b32 %r4, {%h1, %h0};"
        "mov.b64 {%h2, %h3, %h4, %h5}, 0x1111222233334444; mov.b64 %d4, {%h5, %h4, %h3, %h2};"
        "st.global.u32 [%d1], %r1; st.global.u32 [%d1+4], %r2; st.global.u32 [%d1+8], %r3;"
        "st.global.u32 [%d1+12], %r4; st.global.u64 [%d1+16], %d4; ret"
    )
    words = np.frombuffer(launch(text, 24, (1,)), np.uint32).tolist()
    assert words == [0, 7, 7, 0x56781234, 0x22221111, 0x44443333]


def test_a_float_argument_and_narrow_ones() -> None:
    parameters = ("u64", "f32", "f64", "u8", "s16", "u32")
    text = simple(
        "ld.param.f32 %r1, [p1]; ld.param.f64 %d3, [p2]; ld.param.u8 %h1, [p3];"
        "ld.param.s16 %r2, [p4]; ld.param.u32 %r3, [p5]; cvt.rn.f32.f64 %r4, %d3;"
        "cvt.u32.u16 %r5, %h1; st.global.f32 [%d1], %r1; st.global.f32 [%d1+4], %r4;"
        "st.global.u32 [%d1+8], %r5; st.global.u32 [%d1+12], %r2; st.global.u32 [%d1+16], %r3; ret",
        parameters=parameters,
    )
    device = Device()
    out = device.allocate(20)
    device.load(text).launch("k", (1,), (1,), [out, 0.1, 2.5, 200, -3, 5])
    words = np.frombuffer(device.read(out, 20), np.uint32)
    assert words[:2].view(np.float32).tolist() == [np.float32(0.1), 2.5]
    assert words[2:].tolist() == [200, 2**32 - 3, 5]


# Numerics


def floats(body: str, canonical_nan: bool) -> int:
    text = simple(body + "; st.global.u32 [%d1], %r1; ret")
    return int(np.frombuffer(launch(text, 4, (1,), canonical_nan=canonical_nan), np.uint32)[0])


def test_both_conventions_of_nan() -> None:
    payload = "mov.b32 %r1, 0f7FC12345; add.rn.f32 %r1, %r1, 0f3F800000"
    assert floats(payload, canonical_nan=True) == 0x7FFFFFFF
    assert floats(payload, canonical_nan=False) == 0x7FC12345
    invalid = "mov.b32 %r1, 0f00000000; div.rn.f32 %r1, %r1, %r1"
    assert floats(invalid, canonical_nan=True) == 0x7FFFFFFF
    assert floats(invalid, canonical_nan=False) & 0x7FC00000 == 0x7FC00000
    moved = "mov.b32 %r1, 0f7FC12345; mov.f32 %r2, %r1; selp.f32 %r1, %r2, %r1, %p1"
    assert floats("setp.eq.u32 %p1, %r0, %r0;" + moved, canonical_nan=True) == 0x7FC12345


def test_a_product_and_a_sum_are_not_fused() -> None:
    # (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, which the product alone rounds away.
    body = "mov.b32 %r1, 0f3F800800; mul.rn.f32 %r1, %r1, %r1; sub.rn.f32 %r1, %r1, 0f3F801000"
    assert floats(body, True) == 0
    fused = "mov.b32 %r1, 0f3F800800; fma.rn.f32 %r1, %r1, %r1, 0fBF801000"
    assert floats(fused, True) == 0x33800000


def test_the_callers_float_environment_does_not_matter() -> None:
    body = "mov.b32 %r1, 0f00800000; mul.rn.f32 %r1, %r1, 0f3F000000"
    for control in HOSTILE:
        with ENVIRONMENT.mode(control):
            assert floats(body, True) == 0x00400000
            assert ENVIRONMENT.control == control


# What is watched

SHARED = "\t.shared .align 16 .b8 sh[128];\n"
MINE = "mov.u64 %d3, sh; add.s64 %d4, %d3, %d2;"  # %d4: the thread's word of shared memory

LOCAL = ".local .align 16 .b8 lo[16];"

FAULTS = {
    "past the end": ("ld.global.u32 %r1, [%d0+4096]; ret", "global memory out of bounds"),
    "before the start": ("ld.global.u32 %r1, [%d0+-4]; ret", "in no buffer"),
    "the last bytes": ("ld.global.u32 %r1, [%d1+4094]; ret", "of buffer 1, which has 4096 bytes"),
    "half past the end": ("st.global.v4.u32 [%d1+4088], {%r0, %r0, %r0, %r0}; ret", "of buffer 1"),
    "null": ("mov.u64 %d5, 0; st.global.u32 [%d5], %r0; ret", "0x0, in no buffer"),
    "a shared address": (
        "mov.u64 %d5, sh; st.global.u32 [%d5], %r0; ret",
        "global memory out of bounds or misaligned, at 0x0, in no buffer",
    ),
    "misaligned": ("ld.global.u32 %r1, [%d0+2]; ret", r"misaligned, at offset \d+ of buffer 1"),
    "a misaligned vector": ("ld.global.v2.u32 {%r1, %r2}, [%d0+4]; ret", "misaligned"),
    "past shared memory": ("st.shared.u32 [sh+128], %r0; ret", "offset 128 of 128"),
    "far from shared memory": (
        "mov.u64 %d5, -4; st.shared.u32 [%d5], %r0; ret",
        "offset 18446744073709551612 of 128",
    ),
    "before shared memory": (
        "mov.u32 %r5, sh; st.shared.u32 [%r5+-4], %r0; ret",
        "offset 18446744073709551612 of 128",
    ),
    "far from shared memory, by 32 bits": (
        "mov.u32 %r5, -4; st.shared.u32 [%r5+4], %r0; ret",
        "offset 4294967296 of 128",
    ),
    "a global address": ("st.shared.u32 [%d0], %r0; ret", "shared memory out of bounds"),
    "misaligned shared memory": ("st.shared.u32 [sh+2], %r0; ret", "misaligned, at offset 2"),
    "two writers": ("st.shared.u32 [sh], %r0; ret", "a race: writes shared offset 0"),
    "a reader before the writer": (
        MINE + "st.shared.u32 [%d4], %r0; bar.sync 0; ld.shared.u32 %r1, [sh];"
        "st.shared.u32 [%d4], %r1; ret",
        "a race: (reads shared offset 0, which thread|writes shared offset 0, which)",
    ),
    "a neighbour's word": (
        MINE + "st.shared.u32 [%d4], %r0; xor.b32 %r1, %r0, 1; mul.wide.u32 %d5, %r1, 4;"
        "add.s64 %d5, %d3, %d5; ld.shared.u32 %r2, [%d5]; ret",
        r"a race: reads|reads shared offset \d+ before",
    ),
    "written by another after being read": (
        MINE + "st.shared.u32 [%d4], %r0; bar.sync 0; ld.shared.u32 %r1, [%d4];"
        "ld.shared.u32 %r2, [sh]; setp.eq.u32 %p1, %r0, 5; @%p1 st.shared.u32 [sh], %r1; ret",
        r"a race: writes shared offset 0|a race: reads shared offset 0",
    ),
    "part of a vector": (
        MINE + "mul.wide.u32 %d5, %r0, 4; and.b64 %d5, %d5, -16; add.s64 %d5, %d3, %d5;"
        "st.shared.u32 [%d4], %r0; ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [%d5]; ret",
        "a race: reads|before anything",
    ),
    "nothing written": ("ld.shared.u32 %r1, [sh+64]; ret", "offset 64 before anything is written"),
    "a barrier for some": (
        "setp.lt.u32 %p1, %r0, 16; @%p1 bra go; ret; go: bar.sync 0; ret",
        "a barrier that not all reach",
    ),
    "two barriers": (
        "setp.lt.u32 %p1, %r0, 16; @%p1 bra go; bar.sync 0; ret; go: bar.sync 0; ret",
        "waits at the barrier in line",
    ),
    "past local memory": (LOCAL + "st.local.u32 [lo+16], %r0; ret", "local memory out of bounds"),
    "misaligned local memory": (LOCAL + "st.local.u32 [lo+2], %r0; ret", "at offset 2 of 16"),
    "far from local memory": (
        LOCAL + "mov.u64 %d5, -4; ld.local.u32 %r1, [%d5]; ret",
        "local memory out of bounds",
    ),
    "division by zero": ("div.u32 %r1, 5, %r0; ret", "division by zero"),
    "an overflowing division": (
        "mov.b32 %r1, -2147483648; sub.s32 %r2, -1, %r0; rem.s32 %r3, %r1, %r2; ret",
        "or one that overflows",
    ),
}


def fault_text(body: str) -> str:
    return simple(body, SHARED if "sh" in body else "")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", FAULTS)
def test_what_a_gpu_leaves_undefined_stops_the_launch(case: str, order: int) -> None:
    body, message = FAULTS[case]
    with pytest.raises(KernelFault, match=message) as caught:
        launch(fault_text(body), order=order)
    fault = caught.value
    assert fault.kernel == "k"
    assert fault.block == (0, 0, 0)
    quoted = fault_text(body).split("\n")[fault.line - 1]
    assert quoted.strip() in str(fault)
    assert str(fault).startswith(f"k, PTX line {fault.line}, block (0, 0, 0), thread (")


@pytest.mark.parametrize("order", ORDERS)
def test_shared_memory_does_not_outlive_its_block(order: int) -> None:
    body = (
        "mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 0; @!%p1 bra read; st.shared.u32 [sh], %r0;"
        "ret; read: ld.shared.u32 %r2, [sh]; ret"
    )
    with pytest.raises(KernelFault, match="offset 0 before anything") as caught:
        launch(simple(body, SHARED), block=(1,), grid=(2,), order=order)
    assert caught.value.block == (1, 0, 0)


def test_a_fault_names_block_and_thread() -> None:
    body = (
        "mov.u32 %r1, %ctaid.y; setp.eq.u32 %p1, %r1, 2; mov.u32 %r2, %tid.y;"
        "setp.eq.u32 %p2, %r2, 3; and.pred %p1, %p1, %p2; setp.eq.u32 %p3, %r0, 1;"
        "and.pred %p1, %p1, %p3; @%p1 ld.global.u32 %r3, [%d0+1]; ret"
    )
    with pytest.raises(KernelFault) as caught:
        launch(simple(body), block=(2, 4), grid=(1, 3))
    assert (caught.value.block, caught.value.thread) == ((0, 2, 0), (1, 3, 0))


def test_reads_of_one_word_by_all_and_bytes_of_one_word_by_each_are_no_race() -> None:
    text = simple(
        "mov.u64 %d3, sh; cvt.u64.u32 %d4, %r0; add.s64 %d4, %d3, %d4; st.shared.u8 [%d4], %r0;"
        "bar.sync 0; ld.shared.u32 %r1, [sh]; ld.shared.u32 %r2, [sh+4];"
        "add.s32 %r1, %r1, %r2; st.global.u32 [%d0], %r1; ret",
        SHARED,
    )
    assert launch(text, 128) == np.full(32, 0x03020100 + 0x07060504, np.uint32).tobytes()


def test_buffers_are_far_apart_and_freed_ones_are_gone() -> None:
    device = Device()
    a, b = device.allocate(64), device.allocate(64)
    loaded = device.load(simple("ld.global.u32 %r1, [%d0]; ret"))
    loaded.launch("k", (1,), (1,), [b])
    with pytest.raises(KernelFault, match="out of bounds"):
        loaded.launch("k", (1,), (1,), [a + 64])
    device.free(b)
    with pytest.raises(KernelFault, match="in no buffer"):
        loaded.launch("k", (1,), (1,), [b])
    for wrong in (b, a + 4, 0):
        with pytest.raises(DeviceError, match="not the address of an allocation"):
            device.free(wrong)


def test_numbers_of_buffers_are_used_again_after_many() -> None:
    device = Device()
    for _ in range(10_000):
        device.free(device.allocate(1))
    assert device.allocate(1) >> 40 < 5000


def test_memory_is_written_and_read_within_its_bounds() -> None:
    device = Device()
    address = device.allocate(16)
    assert device.read(address, 16) == b"\xa5" * 16
    device.write(address + 4, np.arange(2, dtype=np.uint32))
    assert device.read(address + 4, 8) == b"\0\0\0\0\1\0\0\0"
    for bad in (lambda: device.read(address + 9, 8), lambda: device.write(address, bytes(17))):
        with pytest.raises(DeviceError, match="not allocated"):
            bad()
    with pytest.raises(DeviceError, match="can't allocate"):
        device.allocate(-1)


@pytest.mark.parametrize(
    ("grid", "block", "arguments", "message"),
    [
        ((0,), (1,), [0], "a grid of"),
        ((1, 70000), (1,), [0], "a grid of"),
        ((1,), (2000,), [0], "a block of"),
        ((1, 1, 1, 1), (1,), [0], "a grid of"),
        ((1,), (32, 64), [0], "at most 1024 threads"),
        ((1,), (1,), [], "takes 1 arguments, not 0"),
        ((1,), (1,), [1 << 64], "doesn't fit p0"),
        ((1,), (1,), [0.5], "p0 takes an integer"),
    ],
)
def test_a_wrong_launch_is_refused(
    grid: Sequence[int], block: Sequence[int], arguments: Sequence[int], message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        Device().load(simple("ret")).launch("k", grid, block, arguments)


def test_the_block_that_a_kernel_was_compiled_for_is_required() -> None:
    text = module(kernel(lines("ret"), block=".reqntid 8, 4"))
    loaded = Device().load(text)
    loaded.launch("k", (2,), (8, 4), [])
    with pytest.raises(DeviceError, match=r"needs blocks of \(8, 4, 1\) threads, not \(32, 1, 1\)"):
        loaded.launch("k", (2,), (32,), [])
    with pytest.raises(DeviceError, match="at most 16 threads"):
        Device().load(module(kernel(lines("ret"), block=".maxntid 16"))).launch(
            "k", (1,), (17,), []
        )
    with pytest.raises(DeviceError, match="there is no kernel 'other'; the module has k"):
        loaded.launch("other", (1,), (1,), [])
