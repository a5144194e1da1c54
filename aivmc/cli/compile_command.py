"""``aivmc compile``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from aivmc.backends.targets import resolve_all
from aivmc.cli.arguments import load_plugins, parse_shapes
from aivmc.cli.output import bytes_text, print_json, print_text
from aivmc.compiler import canonical_passes, compile_file
from aivmc.configuration import COMPILER_PACKAGES, Configuration, read_settings
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.atomic import atomic_file
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.passes.base import Pass
from aivmc.passes.manager import DumpDirectory, Observer, Observers, PrintAfter
from aivmc.protocol.provenance import Build, write_provenance
from aivmc.trust.keys import read_private_key


class ProgressBar(Observer):
    """A bar on standard error, where that is a terminal. Its parts are the passes and, for each
    target, the functions."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            *(TextColumn("{task.description:<24}"), BarColumn()),
            *(MofNCompleteColumn(), TimeElapsedColumn()),
        )
        self._progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("reading the model", total=None)
        self._total = 0

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def before_pipeline(self, module: Module, passes: Sequence[Pass]) -> None:
        self._add(len(passes))

    def before_pass(self, pass_: Pass) -> None:
        self._progress.update(self._task, description=pass_.name)

    def after_pass(self, pass_: Pass, module: Module, seconds: float) -> None:
        self._progress.update(self._task, advance=1, description="machine code")

    def progress(self, done: int, total: int, what: str) -> None:
        if done == 0:
            self._add(total)
        self._progress.update(self._task, advance=done > 0, description=what)

    def _add(self, parts: int) -> None:
        self._total += parts
        self._progress.update(self._task, total=self._total)


@dataclass(frozen=True)
class Options:
    """What the command line says of the kernel; it goes before what ``config`` says."""

    config: Path | None = None
    targets: Sequence[str] | None = None
    shapes: Sequence[str] = ()
    seed: int | None = None
    seed_policy: str | None = None
    plugins: Sequence[str] = ()

    def resolve(self) -> Configuration:
        given = {} if self.config is None else read_settings(self.config)
        shapes = {n: list(d) for n, d in parse_shapes(self.shapes).items()}
        if self.seed_policy is not None:
            given.pop("seed.value", None)
        asked = {
            "targets": list(self.targets) if self.targets else None,
            "shapes": {**given.get("shapes", {}), **shapes} if shapes else None,
            # JSON's and TOML's integers end before seeds do.
            "seed.value": None if self.seed is None else _seed_text(self.seed),
            "seed.policy": self.seed_policy,
            "passes.plugins": list(self.plugins) or None,
        }
        return Configuration.of(given | {k: v for k, v in asked.items() if v is not None})


@dataclass(frozen=True)
class Files:
    """What is read and written."""

    model: Path
    kernel: Path
    dump_ir: Path | None = None
    provenance: Path | None = None
    key: Path | None = None


def run(files: Files, options: Options, print_after: Sequence[str], as_json: bool) -> None:
    configuration = options.resolve()
    if (files.provenance is None) != (files.key is None):
        raise AivmcError("--provenance and --key go together")
    key = None if files.key is None else read_private_key(files.key)
    plugins = load_plugins(configuration.values["passes.plugins"])
    _check_pass_names(print_after, canonical_passes(plugins))
    out, started = sys.stderr if as_json else sys.stdout, time.time()
    with ProgressBar() as bar:
        observers: list[Observer] = [bar, PrintAfter(print_after, out.write)]
        if files.dump_ir is not None:
            observers.append(DumpDirectory(files.dump_ir))
        policy = configuration.seed
        identity = compile_file(
            files.model,
            files.kernel,
            configuration.values["targets"],
            configuration.values["shapes"],
            policy.value if policy.policy == "fixed" else None,
            Observers(*observers),
            plugins,
            policy.policy,
        )
    if files.provenance is not None and key is not None:
        build = Build(
            files.kernel,
            identity,
            files.model,
            configuration.to_json(),
            ("aivmc", *COMPILER_PACKAGES),
            started,
            time.time(),
        )
        with atomic_file(files.provenance) as file:
            file.write(write_provenance(build, key))
    _print(files, configuration, identity, as_json)


def _print(files: Files, configuration: Configuration, identity: str, as_json: bool) -> None:
    size = files.kernel.stat().st_size
    if as_json:
        names = [t.name for t in resolve_all(configuration.values["targets"])]
        print_json(
            {"kernel": str(files.kernel), "identity": identity, "targets": names, "bytes": size}
        )
    else:
        print_text(f"{identity}\n{files.kernel} ({bytes_text(size)})")


def _seed_text(seed: int) -> str:
    SeedPolicy("fixed", seed)
    return str(seed)


def _check_pass_names(names: Sequence[str], passes: Sequence[Pass]) -> None:
    known = list(dict.fromkeys(p.name for p in passes))
    for name in names:
        if name not in known:
            raise AivmcError(
                f"--print-after {name}: no such pass runs; there are {', '.join(known)}"
            )
