"""Code generation in a process of its own, which gives its memory back when it is done.

The process is told the program's text and the target, and not the weights: code doesn't depend on
them. What goes through the pipes is pickled, between two processes of one installation.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys

from aivmc.backends.artifact import Generated, Progress
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError
from aivmc.ir.text import parse, print_module


def generate_apart(module: Module, target: str, progress: Progress) -> Generated:
    """As :func:`aivmc.backends.generate.generate`, in a process of its own.

    ``AivmcError`` also where that process can't be started or dies.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-m", __name__]
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
    except OSError as error:
        raise AivmcError(f"can't start a process to generate code: {error}") from None
    with child:
        try:
            return _converse(child, (print_module(module), target), progress)
        except (EOFError, OSError):  # it has closed its ends of the pipes
            raise AivmcError(
                f"the process that generates code ended with exit status {child.wait()}"
            ) from None
        except BaseException:
            child.kill()
            raise


def _converse(
    child: subprocess.Popen[bytes], request: tuple[str, str], progress: Progress
) -> Generated:
    assert child.stdin is not None and child.stdout is not None
    with child.stdin as pipe:
        pickle.dump(request, pipe)
    while True:
        match pickle.load(child.stdout):
            case Generated() as generated:
                return generated
            case AivmcError() as error:
                raise error
            case (done, total, what):
                progress(done, total, what)


def _serve() -> None:
    """One request from standard input, its answers to what was standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted too, and ends this
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(message: object) -> None:
        pickle.dump(message, answers)
        answers.flush()

    text, target = pickle.load(sys.stdin.buffer)
    from aivmc.backends.generate import generate

    try:
        answer(generate(parse(text), target, lambda *step: answer(step)))
    except AivmcError as error:
        answer(error)


if __name__ == "__main__":
    _serve()
