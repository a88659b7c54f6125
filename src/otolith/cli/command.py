"""Turn a function into a command: groups of options, verbosity, and errors as one message."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import signal
import sys
import threading
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from otolith.cli.console import errors, escape, log, set_verbosity

_LONGEST = 1500  # characters of a message


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """How much a command tells; every command has these."""

    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            envvar="OTOLITH_DEBUG",
            help="Also show what libraries log, and the traceback of an error.",
            rich_help_panel="Output",
        ),
    ] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only results, warnings and errors.", rich_help_panel="Output")
    ] = False
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            envvar="OTOLITH_LOG",
            help="Append what happens to a file: progress, notes, what libraries log, errors with their traceback.",
            rich_help_panel="Output",
        ),
    ] = None


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function as Typer takes it, with the options of groups in place of the groups.

    A group is a dataclass whose fields are options. A function names it as one parameter:

        @command
        def evaluate(run: RunOptions, jobs: JobsOption = 0) -> None:
            run.open().evaluate(jobs=jobs)

    The result also has the options of `OutputOptions`. It exits with 0 (done), 1 (an error, which a message explains) 130
    (interrupted) or 143 (terminated); for a wrong usage Typer exits with 2.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    own = inspect.signature(function).parameters
    hints = typing.get_type_hints(function, include_extras=True)
    for name, hint in [*((name, hints[name]) for name in own), ("output", OutputOptions)]:
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner, fields = typing.get_type_hints(hint, include_extras=True), dataclasses.fields(hint)
            groups[name] = hint, [field.name for field in fields]
            parameters += [_parameter(field.name, inner[field.name], field.default) for field in fields]
        else:
            parameters.append(_parameter(name, hint, own[name].default))

    @functools.wraps(function)
    def run(**given: Any) -> None:
        for name, (kind, fields) in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in fields})
        with _reported(given.pop("output")):
            function(**given)

    run.__doc__ = unwrapped(inspect.getdoc(function) or "")
    vars(run).pop("__wrapped__")  # Typer reads the signature set here, not the function's
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def unwrapped(text: str) -> str:
    """Return a help text with one line per paragraph, for the terminal to wrap; those after a line \\b keep their lines."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else " ".join(part.split()) for part in paragraphs)


def shortened(text: str) -> str:
    """Return a message without its middle where it is long, as one that repeats a setting of thousands of letters is."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    kept = inspect.Parameter.empty if default is dataclasses.MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=kept, annotation=hint)


def _explained(error: Exception) -> str | None:
    """Return what to tell the user of an error; None for one that is no user's."""
    said = str(error).strip() or type(error).__name__
    if isinstance(error, MemoryError):
        return f"memory ran out: {said}; run fewer processes with --jobs, or read less at a time"
    if isinstance(error, RuntimeError):
        if "out of memory" not in said and "can't allocate memory" not in said:
            return None
        where = "of the device " if "CUDA" in said or "MPS" in said or "HIP" in said else ""
        first = said.splitlines()[0].split(". ")[0]
        return (
            f"the memory {where}ran out: {first}; lower pretrain.batch_size, for example --set pretrain.batch_size=64"
        )
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename and not Path(error.filename).is_dir():
        return f"'{error.filename}' is no folder; name another place"
    if isinstance(error, IsADirectoryError) and error.filename:
        return f"'{error.filename}' is a folder; expected a file"
    return said


class _TerminatedError(BaseException):
    """The system asked the process to end."""


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let SIGTERM raise an exception, so that worker processes and temporary files are cleaned up and a message is shown."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ended(number: int, frame: object) -> None:
        del number, frame
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _reported(output: OutputOptions) -> Iterator[None]:
    """End the command with a message and an exit code where the work inside fails."""
    try:
        set_verbosity(verbose=output.verbose, quiet=output.quiet, file=output.log)
        log.info("started: %s", " ".join(sys.argv))
        with _ending_in_order():
            yield
        log.info("done")
    except KeyboardInterrupt:
        log.warning("interrupted")
        raise typer.Exit(130) from None
    except _TerminatedError:
        log.warning("terminated")
        errors.print("terminated; the same command continues where it stopped", highlight=False, soft_wrap=True)
        raise typer.Exit(143) from None
    except BrokenPipeError:  # the reader of a pipe has gone; Typer ends such a command
        raise
    except (ValueError, OSError, ImportError, MemoryError, RuntimeError) as error:
        said = _explained(error)
        log.error("%s", type(error).__name__, exc_info=True)
        if said is None:
            raise
        if output.verbose:
            traceback.print_exc()
        message = escape(shortened(" ".join(said.splitlines())))
        errors.print(f"[bold red]error:[/] {message}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
