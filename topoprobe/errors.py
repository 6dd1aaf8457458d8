"""The errors that topoprobe raises on purpose, each with the exit code it ends a command with.

Tree::

    TopoprobeError            70  should not happen: a defect of topoprobe
    ├── UsageError             2  the command was asked for in a way that makes no sense
    ├── InputError             2  a file or text is not what it was said to be
    ├── CheckFailed            1  a comparison or check found a problem
    ├── EnvironmentMissing     3  this machine lacks what the command needs
    ├── MeasurementFailed      4  everything that was asked for failed
    ├── ModelError             2  a model or calibration cannot answer the question
    └── Interrupted          130  a person ended it before there was anything to keep

A message is one sentence: what was found, what was expected, what to try.
"""

from __future__ import annotations


class TopoprobeError(Exception):
    """Base of every error that a user can see; carries the exit code of the command."""

    exit_code = 70


class UsageError(TopoprobeError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class InputError(TopoprobeError):
    """A file or text is not what it was said to be."""

    exit_code = 2


class CheckFailed(TopoprobeError):
    """A comparison or check found a problem."""

    exit_code = 1


class EnvironmentMissing(TopoprobeError):
    """The machine lacks a module, driver, device or permission that is needed."""

    exit_code = 3


class MeasurementFailed(TopoprobeError):
    """Everything that was asked for failed to be measured."""

    exit_code = 4


class ModelError(TopoprobeError):
    """A calibration or model cannot answer the question, and says why."""

    exit_code = 2


class Interrupted(TopoprobeError):
    """A person ended the work before there was anything to keep."""

    exit_code = 130
