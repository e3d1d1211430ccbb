"""Log lines without values: no shopper id, query or key reaches a log, whoever writes it and at whatever level.

Exceptions quote what they could not read, and paths hold what clients put into them; both are left out of every line.
"""

import logging
import re
import sys
import traceback
import types

from serving.access.paths import shown

_REQUEST_ID = re.compile(r"requestId: [\w.:-]{1,128}, preprocess_ms")
_PATH = 2
"""Position of the path in the arguments of uvicorn's access log."""


def quiet(root: logging.Logger | None = None) -> None:
    """Make every configured handler leave values out; call it after logging is configured."""
    root = root or logging.getLogger()
    if not root.handlers:
        # Libraries whose loggers nobody configured would write through logging's handler of last resort.
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)s %(name)s %(levelname)s %(message)s"))
        root.addHandler(handler)
    loggers = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    for handler in {handler for one in loggers for handler in one.handlers}:
        if not isinstance(handler.formatter, _Quiet):
            handler.setFormatter(_Quiet(handler.formatter or logging.Formatter()))
    # It prints whole requests when it cannot name them.
    logging.getLogger("timing_asgi").setLevel(logging.CRITICAL)
    for name, kind in (("uvicorn.access", _PathFilter), ("kserve.trace", _TraceFilter), ("kserve", _RefusalFilter)):
        logger = logging.getLogger(name)
        if not any(isinstance(one, kind) for one in logger.filters):
            logger.addFilter(kind())


def without_values(error: BaseException | None) -> str:
    """Type and places of an error and its causes, without their messages."""
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__} (its message is not logged)\n",
                 *(["caused:\n"] if lines else []), *lines]  # fmt: skip
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(lines).rstrip("\n")


class _Quiet(logging.Formatter):
    """Formats as another formatter does, except for exceptions, in messages too."""

    def __init__(self, inner: logging.Formatter):
        super().__init__()
        self._inner = inner
        inner.formatException = types.MethodType(lambda _, info: without_values(info[1]), inner)

    def format(self, record: logging.LogRecord) -> str:
        # A text that another handler has made is not taken over.
        record.exc_text = None
        arguments = record.args
        if isinstance(arguments, tuple) and any(isinstance(one, BaseException) for one in arguments):
            record.args = tuple(type(one).__qualname__ if isinstance(one, BaseException) else one for one in arguments)
        return self._inner.format(record)


class _PathFilter(logging.Filter):
    """Replaces the path of an access line by its pattern, and leaves the query string out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) > _PATH:
            path = record.args[_PATH]
            record.args = (*record.args[:_PATH], shown(str(path)), *record.args[_PATH + 1 :])
        return True


class _TraceFilter(logging.Filter):
    """Leaves paths, and request ids that are none, out of the lines that kserve writes about every request."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("kserve.io"):
            text = f"kserve.io: {text.partition(': ')[2]}"
        elif not _REQUEST_ID.match(text):
            text = f"requestId: (not valid), preprocess_ms{text.rpartition('preprocess_ms')[2]}"
        record.msg, record.args = text, None
        return True


class _RefusalFilter(logging.Filter):
    """Drops the tracebacks that kserve writes about mistakes of clients, which metrics count."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return type(error).__name__ not in ("InvalidInput", "ModelNotFound")


def loop_error(_: object, context: dict[str, object]) -> None:
    """Handler of the event loop's errors, in the place of KServe's, which logs their messages."""
    error = context.get("exception")
    logging.getLogger("kserve.shoprank").error(
        "error of the event loop", exc_info=error if isinstance(error, BaseException) else None
    )
