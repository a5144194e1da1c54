"""Launches through the driver's library, against a stand-in that has no GPU."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.ir.constants import tensor_digest
from aivmc.kernel_file.errors import IntegrityError
from aivmc.protocol.execution import open_session
from aivmc.ptx.device import Device
from aivmc.ptx.errors import DeviceError, PtxError
from aivmc.runtime import cuda
from aivmc.runtime.cuda import CudaDevice
from aivmc.runtime.device_executor import DeviceExecutor
from aivmc.runtime.errors import NodeError
from aivmc.runtime.kernel import Kernel, open_target
from aivmc.runtime.launches import LaunchPlan
from tests.ptx.text import kernel, lines, module
from tests.small_model import small_model
from tests.stand_in_driver import StandIn

X = np.random.default_rng(3).standard_normal((3, 8)).astype(np.float32)

DOUBLE = module(
    kernel(
        lines(
            "ld.param.u64 %d0, [p0]; ld.param.u32 %r1, [p1]; mov.u32 %r0, %tid.x;"
            "mul.wide.u32 %d1, %r0, 4; add.s64 %d0, %d0, %d1; ld.global.u32 %r2, [%d0];"
            "mad.lo.u32 %r2, %r2, 2, %r1; st.global.u32 [%d0], %r2; ret"
        ),
        ("u64", "u32"),
        name="double",
    )
)


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cuda") / "fat.aivm"
    aivmc.compile(small_model(), ["cpu", "cuda"]).save(path)
    return path


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(cuda, "_driver", lambda: stand_in)
    return stand_in


def test_a_kernel_gives_the_cpus_bits(fat: Path, driver: StandIn) -> None:
    with aivmc.load(fat) as on_cpu, aivmc.load(fat, device="cuda") as on_gpu:
        expected = on_cpu.run({"x": X})
        for _ in range(2):
            found = on_gpu.run({"x": X})
            assert {n: tensor_digest(a) for n, a in found.items()} == {
                n: tensor_digest(a) for n, a in expected.items()
            }
        assert driver.calls.count("cuModuleLoadDataEx") == 1
        allocations = driver.calls.count("cuMemAlloc_v2")
        on_gpu.run({"x": X + 1})
        assert driver.calls.count("cuMemAlloc_v2") == allocations  # memory stays between calls
    assert not driver.sizes


def test_the_simulated_gpu_gives_the_cpus_bits(fat: Path) -> None:
    with aivmc.load(fat) as on_cpu, aivmc.load(fat, device="ptx-sim") as simulated:
        assert simulated.run({"x": X})["y"].tobytes() == on_cpu.run({"x": X})["y"].tobytes()


def test_memory_and_launches() -> None:
    device = CudaDevice(StandIn())
    address = device.allocate(16)
    device.write(address, np.arange(4, dtype=np.uint32))
    device.load(DOUBLE).launch("double", (1,), (4,), [address, 7])
    assert np.frombuffer(device.read(address, 16), np.uint32).tolist() == [7, 9, 11, 13]
    assert device.read(address, 0) == b""
    device.free(address)
    device.free(device.allocate(0))  # which the driver itself refuses


def test_any_thread_can_use_the_device() -> None:
    stand_in = StandIn()
    device = CudaDevice(stand_in)
    stand_in._context = None  # as on a new thread
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(device.allocate(4)))
    thread.start()
    thread.join()
    assert found[0] in stand_in.sizes


def test_errors_name_the_kernel() -> None:
    device = CudaDevice(StandIn())
    loaded = device.load(DOUBLE)
    with pytest.raises(NodeError, match="double: cuCtxSynchronize gives 700, an illegal memory"):
        loaded.launch("double", (1,), (4,), [0, 7])
    device = CudaDevice(StandIn())
    loaded = device.load(DOUBLE)
    with pytest.raises(NodeError, match="double: cuLaunchKernel gives 1, invalid argument"):
        loaded.launch("double", (1,), (4096,), [0, 7])
    with pytest.raises(DeviceError, match="there is no kernel 'triple'; the module has double"):
        loaded.launch("triple", (1,), (4,), [0, 7])


def test_what_a_kernel_did_is_said_not_what_failed_after_it(fat: Path) -> None:
    with aivmc.load(fat) as loaded:
        file = loaded.file
        plan = LaunchPlan.from_json(file.json("targets/cuda/plan.json"))
        code = bytes(file.members["targets/cuda/kernel.ptx"])
        broken = re.sub(rb"(st\.global\S+ \t\[%rd\d+)\]", rb"\1+1048576]", code)
        gpu = CudaDevice(StandIn())
        executor = DeviceExecutor(loaded.signature, plan, broken, file.arrays(), gpu)
        with (
            pytest.raises(NodeError, match=r"^k0_contract: cuCtxSynchronize gives 700, an illegal"),
            Kernel(file, executor) as kernel,
        ):
            kernel.run({"x": X})


def test_no_gpu_is_said() -> None:
    with pytest.raises(NodeError, match="the GPU: cuInit gives 100, no CUDA-capable device"):
        CudaDevice(StandIn(gpus=0))


def test_too_little_memory_is_said() -> None:
    device = CudaDevice(StandIn(memory=100))
    device.allocate(60)
    with pytest.raises(NodeError, match="60 bytes: cuMemAlloc_v2 gives 2, out of memory"):
        device.allocate(60)


def test_the_drivers_log_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn()
    device = CudaDevice(stand_in)

    def refusing(text: str, gpu: str) -> Any:
        raise PtxError("too many registers", text, 1, 1)

    monkeypatch.setattr(stand_in.device, "load", refusing)
    with pytest.raises(NodeError) as caught:
        device.load(DOUBLE)
    assert str(caught.value) == (
        "compiling the PTX: cuModuleLoadDataEx gives 218, a PTX JIT compilation failed\n"
        "ptxas: too many registers"
    )


def test_refused_ptx_never_gets_to_the_driver() -> None:
    stand_in = StandIn()
    with pytest.raises(PtxError, match="is not allowed"):
        CudaDevice(stand_in).load(DOUBLE.replace("mad.lo.u32", "mad.sat.u32"))
    assert "cuModuleLoadDataEx" not in stand_in.calls


def test_an_old_gpu_is_refused(fat: Path, driver: StandIn) -> None:
    driver.capability = (5, 0)
    with pytest.raises(
        NodeError, match=r"the GPU has compute capability 5\.0, and cuda needs 5\.2"
    ):
        aivmc.load(fat, device="cuda")
    with pytest.raises(NodeError, match=r"the GPU has compute capability 5\.0; 5\.2 is needed"):
        CudaDevice(driver).load(DOUBLE)
    assert "cuModuleLoadDataEx" not in driver.calls


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code for three GPUs."""
    path = tmp_path_factory.mktemp("cuda") / "several.aivm"
    aivmc.compile(small_model(), ["cuda:sm_90", "cuda", "cpu", "cuda:sm_61"]).save(path)
    return path


@pytest.mark.parametrize(
    ("capability", "target"),
    [
        ((5, 2), "cuda"),
        ((6, 0), "cuda"),
        ((6, 1), "cuda:sm_61"),
        ((8, 9), "cuda:sm_61"),
        ((9, 0), "cuda:sm_90"),
        ((12, 0), "cuda:sm_90"),
    ],
)
def test_the_best_target_for_a_gpu(
    capability: tuple[int, int], target: str, several: Path, driver: StandIn
) -> None:
    driver.capability = capability
    with aivmc.load(several, device="cuda") as kernel, open_session(several) as on_cpu:
        assert open_target(kernel.file, device="cuda")[0] == target
        expected = on_cpu.execute({"x": X}).arrays["y"]
        assert kernel.run({"x": X})["y"].tobytes() == expected.tobytes()
        code = bytes(kernel.file.members[f"targets/{target}/kernel.ptx"]).decode()
        assert f".target {'sm_52' if target == 'cuda' else target[5:]}" in code


def test_a_target_can_be_named(several: Path, driver: StandIn) -> None:
    for device in ("ptx-sim", "cuda"):
        with open_session(several, "cuda:sm_61", device) as session:
            assert session.target == "cuda:sm_61"
            assert session.execute({"x": X}, traced=True).trace is not None
    with open_session(several, device="ptx-sim") as session:
        assert session.target == "cuda:sm_90"
    with pytest.raises(NodeError, match=r"capability 8\.0, and cuda:sm_90 needs 9\.0"):
        aivmc.load(several, "cuda:sm_90", "cuda")
    with pytest.raises(NodeError, match="no GPU runs this code, which is for x86-64-v3"):
        aivmc.load(several, "x86-64-v3", "cuda")


def test_code_for_another_gpu_than_its_target_says_is_refused(several: Path) -> None:
    with aivmc.load(several) as loaded:
        plan = LaunchPlan.from_json(loaded.file.json("targets/cuda/plan.json"))
        code = bytes(loaded.file.members["targets/cuda:sm_90/kernel.ptx"])
        with pytest.raises(IntegrityError, match=r"PTX is refused: .*unexpected '7\.8'"):
            DeviceExecutor(loaded.signature, plan, code, loaded.file.arrays(), Device(), "sm_52")


def test_no_driver(fat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LIBRARY", "libnothing.so.1")
    with pytest.raises(NodeError, match=r"no NVIDIA driver can be loaded .*use the device ptx-sim"):
        aivmc.load(fat, device="cuda")


def test_a_kernel_without_code_for_a_device(tmp_path: Path, fat: Path) -> None:
    aivmc.compile(small_model()).save(tmp_path / "cpu.aivm")
    with pytest.raises(NodeError, match="no GPU runs this code, which is for x86-64-v3"):
        aivmc.load(tmp_path / "cpu.aivm", device="cuda")
    aivmc.compile(small_model(), "cuda").save(tmp_path / "gpu.aivm")
    with pytest.raises(NodeError, match=r"no CPU runs this code; .* devices ptx-sim, cuda"):
        aivmc.load(tmp_path / "gpu.aivm")
    with pytest.raises(NodeError, match="no device 'tpu': choose cpu or ptx-sim, cuda"):
        aivmc.load(fat, device="tpu")


def test_one_semantic_identity_whatever_the_targets(fat: Path, tmp_path: Path) -> None:
    kernels = [aivmc.compile(small_model(), target) for target in ("cpu", "cuda")]
    semantic = {k.file.manifest.semantic for k in (*kernels, aivmc.load(fat))}
    assert len(semantic) == 1
    assert len({k.identity for k in kernels}) == 2


def test_corrupted_ptx_is_refused(fat: Path) -> None:
    with aivmc.load(fat) as loaded:
        code = bytes(loaded.file.members["targets/cuda/kernel.ptx"])

        plan = LaunchPlan.from_json(loaded.file.json("targets/cuda/plan.json"))
        stand_in = StandIn()
        for broken in (code[:-40], code.replace(b".rn.", b"."), b"\xff" + code):
            with pytest.raises(IntegrityError, match="PTX is"):
                DeviceExecutor(
                    loaded.signature, plan, broken, loaded.file.arrays(), CudaDevice(stand_in)
                )
        assert "cuModuleLoadDataEx" not in stand_in.calls
