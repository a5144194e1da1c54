"""Kernel files: deterministic, zero-copy, and refused where any byte is another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from aivmc.ir.constants import tensor_digest
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file import container
from aivmc.kernel_file.container import Member
from aivmc.kernel_file.errors import IntegrityError, KernelFileError
from aivmc.kernel_file.manifest import CANONICAL, MANIFEST, WEIGHTS
from aivmc.kernel_file.program import canonical_program, check_program
from aivmc.kernel_file.reader import check_contents, open_kernel, read_kernel
from aivmc.kernel_file.writer import KernelContents, write_kernel
from tests.hand_made import V, W, artifact, contents, module

ROOT = Path(__file__).parents[2]


def write(path: Path, what: KernelContents) -> bytes:
    write_kernel(what, path)
    return path.read_bytes()


@cache
def good() -> bytes:
    """The bytes of the hand-made kernel."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"aivmc-test-{os.getpid()}.aivm"
    try:
        return write(path, contents())
    finally:
        path.unlink()


def rebuilt(change: Callable[[dict[str, bytes]], None], fix_digests: bool = True) -> memoryview:
    """The kernel with other members, in a sound archive; the manifest's digests follow along."""
    kernel = read_kernel(memoryview(good()))
    members = {name: bytes(data) for name, data in kernel.members.items()}
    change(members)
    if fix_digests:
        manifest = json.loads(members[MANIFEST])
        for name, entry in manifest["members"].items():
            if name in members:
                digest = hashlib.sha256(members[name]).hexdigest()
                entry.update(bytes=len(members[name]), sha256=digest)
        members[MANIFEST] = rfc8785.dumps(manifest)
    names = sorted(members)
    layout = container.layout([Member(n, len(members[n]), crc32(members[n])) for n in names])
    pieces = [p for name, header in zip(names, layout.headers) for p in (header, members[name])]
    return memoryview(b"".join([*pieces, layout.directory]))


def with_manifest(change: Callable[[dict[str, Any]], None]) -> memoryview:
    def apply(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        change(manifest)
        members[MANIFEST] = rfc8785.dumps(manifest)

    return rebuilt(apply, fix_digests=False)


def test_arrays_are_read_in_place(tmp_path: Path) -> None:
    write(tmp_path / "k", contents())
    kernel = open_kernel(tmp_path / "k")
    arrays = kernel.arrays()
    assert arrays[tensor_digest(W)].tobytes() == W.tobytes()
    mapped = np.frombuffer(kernel.data, np.uint8)
    for digest, array in arrays.items():
        assert tensor_digest(array) == digest
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable
        assert np.shares_memory(array, mapped)


def test_a_packed_constant_is_stored_once_and_unpacked(tmp_path: Path) -> None:
    write(tmp_path / "k", contents())
    kernel = open_kernel(tmp_path / "k")
    assert tensor_digest(V) not in kernel.arrays()
    check_program(kernel)
    check_contents(kernel)
    assert canonical_program(kernel) == module()


def test_a_packed_constant_that_a_plan_reads_as_it_is_is_stored_twice(tmp_path: Path) -> None:
    plan = {**artifact().plan, "buffers": [["constant", tensor_digest(V)]]}
    changed = dataclasses.replace(artifact(), plan=plan)
    write(tmp_path / "k", contents(artifacts=[artifact(), changed]))
    kernel = open_kernel(tmp_path / "k")
    assert {tensor_digest(V), *artifact().packed} <= kernel.arrays().keys()


def test_the_same_contents_give_the_same_bytes_everywhere(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.hand_made import contents;"
        "from aivmc.kernel_file.writer import write_kernel;"
        "write_kernel(contents(('x86-64-v4', 'x86-64-v3')), sys.argv[1])"
    )
    made = []
    for seed, locale, folder in (("1", "C", tmp_path), ("2", "C.UTF-8", ROOT)):
        path = tmp_path / f"{seed}.aivm"
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "LC_ALL": locale,
            "PYTHONPATH": str(ROOT),
        }
        subprocess.run([sys.executable, "-c", code, path], check=True, cwd=folder, env=environment)
        made.append(path.read_bytes())
    assert made[0] == made[1]
    assert made[0] == write(tmp_path / "k", contents(("x86-64-v3", "x86-64-v4")))


def _changed_artifact(**changes: Any) -> dict[str, Any]:
    return {"artifacts": [dataclasses.replace(artifact(), **changes)]}


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"seed": {"policy": "fixed", "value": "1"}}},
        {"ledger": []},
        {"semantic": "0" * 64},
        {"canonical": "module canonical {\n}\n"},
        {"constants": {tensor_digest(a): a for a in (W, V, -V)}},
        {"selftest": {}},
        _changed_artifact(code=b"other"),
        _changed_artifact(requires=()),
        _changed_artifact(target="x86-64-v2"),
        _changed_artifact(audit={}),
        _changed_artifact(kernel_ir=""),
    ],
    ids=lambda changes: str(next(iter(changes))),
)
def test_every_part_is_in_the_identity(tmp_path: Path, changes: dict[str, Any]) -> None:
    identity = write_kernel(contents(), tmp_path / "a")
    assert write_kernel(contents(), tmp_path / "b") == identity
    assert write_kernel(contents(**changes), tmp_path / "b") != identity


def test_weights_are_streamed(tmp_path: Path) -> None:
    arrays = [np.full(1 << 22, i, np.float32) for i in range(4)]
    what = contents(constants={tensor_digest(a): a for a in (W, V, *arrays)})
    tracemalloc.start()
    write_kernel(what, tmp_path / "k")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "k").stat().st_size > 4 << 24
    assert peak < 1 << 20
    assert len(open_kernel(tmp_path / "k").arrays()) == 6


@given(st.data())
def test_a_flipped_bit_anywhere_is_refused(data: st.DataObject) -> None:
    bad = bytearray(good())
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((IntegrityError, KernelFileError)):
        read_kernel(memoryview(bad))


def test_ten_thousand_flipped_bits_are_refused() -> None:
    chosen, bad = random.Random(1), bytearray(good())
    for bit in chosen.sample(range(8 * len(bad)), 10_000):
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((IntegrityError, KernelFileError)):
            check_contents(read_kernel(memoryview(bad)))
        bad[bit // 8] ^= 1 << bit % 8


@given(st.integers(0, 1 << 16), st.binary(max_size=64))
def test_a_cut_or_longer_file_is_refused(cut: int, more: bytes) -> None:
    whole = good()
    length = cut % len(whole) if not more else len(whole)
    with pytest.raises((IntegrityError, KernelFileError)):
        read_kernel(memoryview(whole[:length] + more))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    for start in (b"", good()[:100], good()[: len(good()) // 2]):
        with pytest.raises((IntegrityError, KernelFileError)):
            read_kernel(memoryview(start + data))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**52), 2**52)
    | st.floats(-9, 9)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(st.data())
def test_a_manifest_with_anything_in_it_is_read_or_refused(data: st.DataObject) -> None:
    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        while isinstance(place, dict | list) and place:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = data.draw(st.sampled_from(list(keys)))
            if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
                place[key] = data.draw(JSON)
                return
            place = place[key]

    try:
        read_kernel(with_manifest(change))
    except (IntegrityError, KernelFileError) as error:
        assert str(error)


@pytest.mark.parametrize("field", ["format", "numerics"])
def test_a_future_version_is_refused(field: str) -> None:
    with pytest.raises(KernelFileError, match=f"{field} version 2"):
        read_kernel(with_manifest(lambda manifest: manifest.update({field: 2})))


def _not_canonical(members: dict[str, bytes]) -> None:
    members[MANIFEST] = json.dumps(json.loads(members[MANIFEST]), indent=1).encode()


def _duplicate_key(members: dict[str, bytes]) -> None:
    members[MANIFEST] = b'{"semantic":"x",' + members[MANIFEST][1:]


def _deep(members: dict[str, bytes]) -> None:
    members[MANIFEST] = b"[" * 100_000


@pytest.mark.parametrize(
    "change",
    [_not_canonical, _duplicate_key, _deep, lambda m: m.update({MANIFEST: b"\xff"})],
    ids=["white space", "duplicate key", "deep", "not UTF-8"],
)
def test_manifests_that_are_not_canonical_json(change: Callable[[dict[str, bytes]], None]) -> None:
    with pytest.raises(IntegrityError, match="manifest is not valid"):
        read_kernel(rebuilt(change, fix_digests=False))


def _offset(manifest: dict[str, Any]) -> None:
    manifest["packed"][0]["offset"] = 0


def _huge(manifest: dict[str, Any]) -> None:
    manifest["packed"][0]["type"] = "f32[1099511627776, 1099511627776]"


def _symbolic(manifest: dict[str, Any]) -> None:
    manifest["packed"][0]["type"] = "f32[N]"


def _unpackable(manifest: dict[str, Any]) -> None:
    next(c for c in manifest["constants"] if "packed" in c)["packed"] = "0" * 64


def _unknown(manifest: dict[str, Any]) -> None:
    manifest["more"] = 1


def _no_target(manifest: dict[str, Any]) -> None:
    manifest["targets"] = {}


def _other_target(manifest: dict[str, Any]) -> None:
    manifest["targets"]["../../x"] = manifest["targets"]["x86-64-v3"]


@pytest.mark.parametrize(
    "change",
    [_offset, _huge, _symbolic, _unpackable, _unknown, _no_target, _other_target],
    ids=lambda change: str(change.__name__).strip("_"),
)
def test_manifests_that_do_not_hold_together(change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(IntegrityError, match="manifest is not valid"):
        read_kernel(with_manifest(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.update({"more": b""}),
        lambda members: members.pop(WEIGHTS),
        lambda members: members.pop("targets/x86-64-v3/plan.json"),
        lambda members: members.pop(MANIFEST),
    ],
    ids=["unknown", "no weights", "no plan", "no manifest"],
)
def test_members_that_are_not_those_of_the_manifest(
    change: Callable[[dict[str, bytes]], Any],
) -> None:
    with pytest.raises(IntegrityError):
        read_kernel(rebuilt(change, fix_digests=False))


def test_tampered_weights_are_named() -> None:
    def change(members: dict[str, bytes]) -> None:
        members[WEIGHTS] = members[WEIGHTS][:-1] + b"\x01"

    with pytest.raises(IntegrityError, match=r"weights\.bin is not what the manifest says"):
        read_kernel(rebuilt(change, fix_digests=False))


def test_an_array_that_is_not_its_digest_is_found_by_a_full_check() -> None:
    def change(members: dict[str, bytes]) -> None:
        members[WEIGHTS] = members[WEIGHTS][:-1] + b"\x01"

    kernel = read_kernel(rebuilt(change))
    with pytest.raises(IntegrityError, match="another digest"):
        check_contents(kernel)


def test_a_program_that_is_not_the_manifest_s_is_found_by_a_full_check() -> None:
    def change(members: dict[str, bytes]) -> None:
        members[CANONICAL] = members[CANONICAL].replace(b"det.mul", b"det.add", 1)

    with pytest.raises(IntegrityError, match="semantic digest"):
        check_program(read_kernel(rebuilt(change)))


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, reason in (("x", "No such file"), (".", "directory"), ("empty", "empty")):
        with pytest.raises(KernelFileError, match=reason):
            open_kernel(tmp_path / name)
    with pytest.raises(AivmcError):
        open_kernel("null\0byte")
