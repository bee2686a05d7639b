"""The application: all routes over one environment."""

from __future__ import annotations

from fastapi import FastAPI

import wirt
from wirt.api import audit, backup, bootstrap, domains, groups, host, networks, problems, storage, streams, vifs
from wirt.operations.environment import Environment


def make_app(environment: Environment) -> FastAPI:
    app = FastAPI(
        title="wirt", version=wirt.__version__, openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None
    )
    for module in (domains, vifs, host, streams, groups, audit, networks, storage, bootstrap, backup):
        app.include_router(module.router(environment))
    problems.install(app)
    return app
