"""``aivmc compile``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from aivmc.cli.arguments import load_plugins, parse_shapes
from aivmc.cli.output import bytes_text, print_json, print_text
from aivmc.compiler import canonical_passes, compile_file, resolve_targets
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError
from aivmc.passes.base import Pass
from aivmc.passes.manager import DumpDirectory, Observer, Observers, PrintAfter


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


def run(
    model: Path,
    targets: Sequence[str],
    output: Path | None,
    shapes: Sequence[str],
    seed_policy: tuple[str, int | None],
    dump_ir: Path | None,
    print_after: Sequence[str],
    plugin_modules: Sequence[str],
    as_json: bool,
) -> None:
    path = output or model.with_suffix(".aivm")
    plugins = load_plugins(plugin_modules)
    _check_pass_names(print_after, canonical_passes(plugins))
    out = sys.stderr if as_json else sys.stdout
    with ProgressBar() as bar:
        observers: list[Observer] = [bar, PrintAfter(print_after, out.write)]
        if dump_ir is not None:
            observers.append(DumpDirectory(dump_ir))
        policy, seed = seed_policy
        identity = compile_file(
            model, path, targets, parse_shapes(shapes), seed, Observers(*observers), plugins, policy
        )
    size = path.stat().st_size
    if as_json:
        names = [t.name for t in resolve_targets(targets)]
        print_json({"kernel": str(path), "identity": identity, "targets": names, "bytes": size})
    else:
        print_text(f"{identity}\n{path} ({bytes_text(size)})")


def _check_pass_names(names: Sequence[str], passes: Sequence[Pass]) -> None:
    known = list(dict.fromkeys(p.name for p in passes))
    for name in names:
        if name not in known:
            raise AivmcError(
                f"--print-after {name}: no such pass runs; there are {', '.join(known)}"
            )
