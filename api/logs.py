"""Structured logs: JSON lines in production, readable ones in development."""

import logging
import sys
from datetime import UTC, datetime
from typing import BinaryIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor

from api.one_write import JoiningFile
from tenancy.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Everything goes to stderr; stdout belongs to commands. No value of a row is logged."""
    wrapper_class = structlog.make_filtering_bound_logger(logging.INFO)
    if settings.is_production:
        structlog.configure(
            processors=[structlog.processors.format_exc_info, _json_line],
            wrapper_class=wrapper_class,
            logger_factory=structlog.BytesLoggerFactory(file=cast("BinaryIO", JoiningFile(sys.stderr.buffer))),
            cache_logger_on_first_use=True,
        )
        return
    # The default traceback prints local variables, and with them values of rows.
    console: Processor = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            console,
        ],
        wrapper_class=wrapper_class,
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def _json_line(_logger: object, level: str, event: EventDict) -> bytes:
    """What structlog's processors do one after the other, in one go: there is a line for each request."""
    return orjson.dumps(
        {**event, "level": level, "timestamp": datetime.now(UTC)}, option=orjson.OPT_UTC_Z, default=repr
    )
