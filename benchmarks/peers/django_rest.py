"""Django REST framework over psycopg 3 with its pool, under row-level security, served by gunicorn's threads.

One worker process on 127.0.0.1:PORT, with 16 threads and POOL_SIZE connections to DATABASE_URL. What it answers is in
`django_cases`.
"""

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from gunicorn.app.base import BaseApplication

THREADS = 16


def configure() -> None:
    """The settings of an API: no sessions, no pages, and only the middleware that tells the length of an answer."""
    url = urlsplit(os.environ["DATABASE_URL"])
    pool_size = int(os.environ["POOL_SIZE"])
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF="django_cases",
        INSTALLED_APPS=["rest_framework"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        TIME_ZONE="UTC",
        USE_I18N=False,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.path.lstrip("/"),
                "USER": url.username,
                "PASSWORD": url.password,
                "HOST": url.hostname or parse_qs(url.query)["host"][0],
                "PORT": url.port or "",
                "ATOMIC_REQUESTS": True,
                "OPTIONS": {
                    "pool": {"min_size": pool_size, "max_size": pool_size},
                    # Django turns prepared statements off for the sake of poolers; there is none here.
                    "server_side_binding": True,
                    "prepare_threshold": 5,
                },
            }
        },
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_PERMISSION_CLASSES": [],
            "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
    )


class Server(BaseApplication):
    """Gunicorn, told here what the command line would tell it."""

    def load_config(self) -> None:
        """One process with threads, and connections that stay open."""
        self.cfg.set("bind", f"127.0.0.1:{os.environ['PORT']}")
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", THREADS)
        self.cfg.set("keepalive", 75)
        self.cfg.set("loglevel", "warning")
        self.cfg.set("control_socket_disable", True)

    def load(self) -> Callable[..., Any]:
        """The application, made in the worker."""
        configure()
        return get_wsgi_application()


if __name__ == "__main__":
    Server().run()
