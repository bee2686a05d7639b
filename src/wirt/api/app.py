"""The application: all routes over one environment."""

from __future__ import annotations

from fastapi import FastAPI

import wirt
from wirt.api import (
    agent,
    appliances,
    audit,
    backup,
    bootstrap,
    cpu_baseline,
    cpu_pools,
    disk_qos,
    disks,
    domains,
    fork,
    groups,
    host,
    memory,
    migrations,
    networks,
    peers,
    problems,
    qos,
    refresh,
    saves,
    scheduling,
    snapshots,
    stats,
    storage,
    streams,
    templates,
    vif_rate,
    vifs,
)
from wirt.api.peer_app import PEER_ROUTES
from wirt.operations.environment import Environment

ROUTES = (
    domains,
    vifs,
    vif_rate,
    host,
    streams,
    groups,
    audit,
    networks,
    storage,
    snapshots,
    templates,
    fork,
    bootstrap,
    agent,
    appliances,
    backup,
    disks,
    disk_qos,
    qos,
    memory,
    migrations,
    peers,
    cpu_baseline,
    *PEER_ROUTES,
    refresh,
    saves,
    stats,
    scheduling,
    cpu_pools,
)


def make_app(environment: Environment) -> FastAPI:
    app = FastAPI(
        title="wirt", version=wirt.__version__, openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None
    )
    for module in ROUTES:
        app.include_router(module.router(environment))
    problems.install(app)
    return app
