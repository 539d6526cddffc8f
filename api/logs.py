"""Structured logs: JSON lines in production, readable ones in development."""

import logging
import sys

import structlog

from tenancy.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Everything goes to stderr; stdout belongs to commands. No value of a row is logged."""
    renderer: structlog.typing.Processor
    if settings.is_production:
        renderer = structlog.processors.JSONRenderer()
    else:  # The default traceback prints local variables, and with them values of rows.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if settings.is_production else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
