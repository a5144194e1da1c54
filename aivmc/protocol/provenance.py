"""Build provenance: how and where a kernel was compiled, signed, and no part of its identity.

An in-toto Statement (v1) about the kernel file with a SLSA provenance predicate (v1), in an
envelope. The kernel says what it is of; this says which model, packages and machine made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from importlib.metadata import Distribution, distribution
from pathlib import Path

from aivmc.ir.errors import AivmcError
from aivmc.protocol.receipt import STATEMENT
from aivmc.runtime.environment import describe
from aivmc.trust.documents import Json
from aivmc.trust.envelope import seal
from aivmc.trust.keys import PrivateKey

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:aivm:compile:1"


@dataclass(frozen=True)
class Build:
    """One compilation: the kernel that it wrote, from which model and settings, and when (in
    seconds since 1970). ``packages`` are those that took part."""

    kernel: Path
    identity: str
    model: Path
    settings: Mapping[str, Json]
    packages: Iterable[str]
    started: float
    finished: float


def write_provenance(build: Build, key: PrivateKey) -> bytes:
    """The provenance, signed by who compiled: the bytes of its file."""
    dependencies = [
        {"name": "model", "digest": {"sha256": _file_sha256(build.model)}},
        *(_package(distribution(name)) for name in build.packages),
    ]
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": build.identity, "digest": {"sha256": _file_sha256(build.kernel)}},
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(build.settings),
                "internalParameters": {"host": describe()},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": f"urn:aivm:ed25519:{key.public.hex()}"},
                "metadata": {
                    "startedOn": _time(build.started),
                    "finishedOn": _time(build.finished),
                },
            },
        },
    }
    return seal(statement, key)


def _package(package: Distribution) -> Json:
    """A package as it is installed: the digest is that of its RECORD, which lists the digest of
    every file that its wheel had."""
    name, version = package.metadata["Name"].lower(), package.version
    record = package.read_text("RECORD")
    if record is None:
        return {"uri": f"pkg:pypi/{name}@{version}"}
    return {
        "uri": f"pkg:pypi/{name}@{version}",
        "digest": {"sha256": sha256(record.encode()).hexdigest()},
    }


def _file_sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AivmcError(f"cannot read {path}: {error.strerror or error}") from None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
