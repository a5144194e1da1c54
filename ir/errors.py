"""Errors that are shown to users: what is wrong, where, and what to do; never a traceback."""

from __future__ import annotations


class AivmcError(Exception):
    """Base of every error that a user's input, file or machine can cause."""


class IRError(AivmcError):
    """A program that breaks a rule of the IR."""


class UnsupportedError(AivmcError):
    """A valid program that this version can't compile deterministically."""
