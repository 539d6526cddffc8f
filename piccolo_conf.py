"""What Piccolo looks for: the engine, the apps, and the commands of the command line.

Importing it opens nothing; the engine connects at the first query.
"""

import sys

from piccolo.conf.apps import AppRegistry

from demo.commands import reset, seed
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings

DB = FastlaneEngine(Databases(Settings()))

if "migrations" in sys.argv[1:2]:
    DB.act_as_owner()

APP_REGISTRY = AppRegistry(
    apps=[
        "tenancy.piccolo_app",
        "audit.piccolo_app",
        "cases.piccolo_app",
    ]
)

# The demo needs tables of several apps, so that its commands join `tenancy` here.
if (tenancy := APP_REGISTRY.get_app_config("tenancy")) is not None:
    tenancy.commands += [seed, reset]
