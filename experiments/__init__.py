"""Commands: train, impute, sample, evaluate, and the benchmarks."""

import sys
import types


def _stopped(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    """Tell of Ctrl-C in one line, of other errors as ever."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped by a signal", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"] or __name__ != "experiments":  # a command, whose imports take seconds
    sys.excepthook = _stopped
