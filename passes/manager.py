"""Running passes: every program in between is verified and legal at its stage, every step entered
in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError, IRError
from aivmc.ir.text import print_module
from aivmc.ir.verify import verify
from aivmc.passes.base import Pass
from aivmc.passes.identity import semantic_digest
from aivmc.passes.ledger import Entry, Ledger, enter
from aivmc.passes.legality import check_legal


class Observer:
    """Told of every pass and function. Override what you want to see; change no program."""

    def before_pipeline(self, module: Module, passes: Sequence[Pass]) -> None:
        """The program, verified, and the passes that it will go through."""

    def before_pass(self, pass_: Pass) -> None:
        """A pass starts."""

    def after_pass(self, pass_: Pass, module: Module, seconds: float) -> None:
        """What the pass made, verified, and how long it took."""

    def progress(self, done: int, total: int, what: str) -> None:
        """A target's code: so many of its functions are done, and ``what`` comes next."""


class Observers(Observer):
    """Several observers as one, told in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def before_pipeline(self, module: Module, passes: Sequence[Pass]) -> None:
        for observer in self._observers:
            observer.before_pipeline(module, passes)

    def before_pass(self, pass_: Pass) -> None:
        for observer in self._observers:
            observer.before_pass(pass_)

    def after_pass(self, pass_: Pass, module: Module, seconds: float) -> None:
        for observer in self._observers:
            observer.after_pass(pass_, module, seconds)

    def progress(self, done: int, total: int, what: str) -> None:
        for observer in self._observers:
            observer.progress(done, total, what)


class PrintAfter(Observer):
    """Gives the program's text to ``write`` after each pass of a name."""

    def __init__(self, names: Iterable[str], write: Callable[[str], object]) -> None:
        self._names = frozenset(names)
        self._write = write

    def after_pass(self, pass_: Pass, module: Module, seconds: float) -> None:
        if pass_.name in self._names:
            self._write(f"// after {pass_}\n{print_module(module)}")


class DumpDirectory(Observer):
    """Writes ``00-input.air`` and, after each pass, ``NN-pass-name.air``; numbers go on through
    several pipelines. ``AivmcError`` if the folder can't be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def before_pipeline(self, module: Module, passes: Sequence[Pass]) -> None:
        if self._count == 0:
            self._write("input", module)

    def after_pass(self, pass_: Pass, module: Module, seconds: float) -> None:
        self._write(pass_.name, module)

    def _write(self, name: str, module: Module) -> None:
        path = self._folder / f"{self._count:02}-{name}.air"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(print_module(module), encoding="utf-8")
        except OSError as error:
            raise AivmcError(f"can't write {path}: {error.strerror}") from None
        self._count += 1


class Timing(Observer):
    """Seconds taken by each pass, in order."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []

    def after_pass(self, pass_: Pass, module: Module, seconds: float) -> None:
        self.seconds.append((pass_.name, seconds))


def run_pipeline(
    module: Module, passes: Sequence[Pass], observer: Observer | None = None
) -> tuple[Module, Ledger]:
    """The program after all passes, and what was done.

    ``AivmcError`` where the program given is broken or a pass can't do its work; where a pass
    needs another program or makes a broken or illegal one, the error names the pass.
    """
    observer = observer or Observer()
    verify(module)
    check_legal(module)
    observer.before_pipeline(module, passes)
    entries: list[Entry] = []
    digest = semantic_digest(module)
    for pass_ in passes:
        observer.before_pass(pass_)
        start = perf_counter()
        module = _run_checked(pass_, module)
        seconds = perf_counter() - start
        before, digest = digest, semantic_digest(module)
        entries.append(enter(pass_, before, digest))
        observer.after_pass(pass_, module, seconds)
    return module, Ledger(tuple(entries))


def _run_checked(pass_: Pass, module: Module) -> Module:
    """One pass, with what it requires and ensures and the program's soundness checked.

    What ``run`` itself says goes to the user as it is; a broken promise names the pass.
    """
    with _blaming(f"before pass {pass_}"):
        pass_.requires(module)
    module = pass_.run(module)
    with _blaming(f"after pass {pass_}"):
        verify(module)
        check_legal(module)
        pass_.ensures(module)
    return module


@contextmanager
def _blaming(where: str) -> Iterator[None]:
    try:
        yield
    except AivmcError as error:
        raise IRError(f"{where}: {error}") from error
