"""The API: from its OpenAPI document, the websockets' routes, and the wire types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from types import SimpleNamespace
from typing import Any, cast

from tools.manual.blocks import Block, Code, Heading, Table

from wirt.api import streams
from wirt.api.app import make_app
from wirt.operations.environment import Environment
from wirt.ports.clock import SystemClock
from wirt.wire import v1

ROUTES = {
    "GET /v1/domains": "The domains that run; with `all` those that are off too. Domain-0 comes first.",
    "POST /v1/domains": "Start a domain from an xl.cfg, or only define it.",
    "GET /v1/domains/{ref}": "One domain, with its configuration.",
    "DELETE /v1/domains/{ref}": "Forget a domain that is off.",
    "GET /v1/domains/{ref}/wait": "Answers once the domain is in one of the states `until` (commas between them);"
    " `ended`: once the run that it has now is over, with all that its `on_poweroff` and the like demand.",
    "GET /v1/vcpus": "The virtual CPUs of one domain, or of all.",
    "POST /v1/plan": "What creating would do, and nothing done.",
    "POST /v1/domains/{ref}/start": "Start a domain that is defined and off.",
    "POST /v1/domains/{ref}/destroy": "End a run at once.",
    "POST /v1/domains/{ref}/shutdown": "Ask the guest to shut down.",
    "POST /v1/domains/{ref}/reboot": "Ask the guest to reboot.",
    "POST /v1/domains/{ref}/pause": "Stop the guest where it is.",
    "POST /v1/domains/{ref}/unpause": "Let it go on.",
    "POST /v1/domains/{ref}/rename": "Give the domain another name.",
    "POST /v1/domains/{ref}/vifs": "Give the domain another network card, at once if it runs.",
    "POST /v1/domains/{ref}/vifs/plan": "What that would do, and nothing done.",
    "DELETE /v1/domains/{ref}/vifs/{card}": "Take a network card (devid or MAC address) from the domain. A "
    "guest that runs is asked to let go of it.",
    "POST /v1/domains/{ref}/vifs/{card}/link": "Pull a card's cable, or plug it in again.",
    "GET /v1/info": "The host and its hypervisor.",
    "GET /v1/keys": "The keys of an xl.cfg.",
    "GET /v1/jobs": "The latest jobs.",
    "POST /v1/jobs/{job_id}/cancel": "Cancel a job: what it did is undone.",
    "GET /v1/images": "The images that wirt built.",
    "POST /v1/images/{name}": "Build an image.",
    "GET /v1/images/{name}": "One image.",
    "POST /v1/backing/accept": "Forget what an image stood on: the next start takes it as it is then.",
    "WEBSOCKET /v1/events": "Each message is an `Event` as JSON. `after`: those after event number N, as far as "
    "they are kept; without it, from now on.",
    "WEBSOCKET /v1/domains/{ref}/console": "Binary messages, both ways. `offset` counts the console's bytes from "
    "the start of the run: 0 is all that is kept, -1 only what comes. `follow=false` ends after what is kept. "
    "Close code 1000: all has been sent; 4000: refused, with the reason.",
}
"""A sentence for each route that has none in its docstring."""

_NOT_OURS = ("HTTPValidationError", "ValidationError")


def api_page() -> Iterator[Block]:
    document = make_app(_bare_environment()).openapi()
    yield (
        "HTTP/1.1 over a unix socket, `wirtd.sock` in the home's run directory (`wirt info` shows the home). "
        "Whoever may open the socket may do everything. Bodies are JSON. The OpenAPI document is at "
        "`/v1/openapi.json`. Fields are only ever added; ignore those that you don't know."
    )
    yield Code("curl -s --unix-socket /run/wirt/wirtd.sock http://localhost/v1/domains")
    yield "`{ref}` is a name, a domain ID or a UUID. Long operations answer 202 and a `Job`; with `wait`, its end."
    yield "An error is `application/problem+json` (RFC 9457), a `Problem`; [errors](errors.md) lists the codes."
    yield Heading(2, "Routes")
    yield Table(("route", "parameters", "body", "answer", "what"), tuple(_routes(document)))
    yield Heading(2, "Websockets")
    yield Table(("route", "parameters", "what"), tuple(_websockets()))
    yield Heading(2, "Types")
    yield from _types(document["components"]["schemas"])


def _bare_environment() -> Environment:
    """The routes only keep it for later; the clock they read at once."""
    return cast(Environment, SimpleNamespace(clock=SystemClock()))


def _routes(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path}"
            asked = ", ".join(
                _parameter(each) for each in operation.get("parameters", ()) if each["in"] == "query"
            )
            body = _content(operation.get("requestBody", {}))
            said = operation.get("description", "").replace("``", "`")
            yield f"`{route}`", asked, body, _answer(operation), said or ROUTES[route]


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    default = f" = {str(schema['default']).lower()}" if "default" in schema else ""
    return f"`{parameter['name']}` {_type(schema)}{default}"


def _answer(operation: dict[str, Any]) -> str:
    code, response = next((code, each) for code, each in operation["responses"].items() if code.startswith("2"))
    return _content(response) or ("nothing" if code == "204" else "object")


def _content(part: dict[str, Any]) -> str:
    schema = part.get("content", {}).get("application/json", {}).get("schema")
    return _type(schema) if schema else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "object" if not schema else "value"))


def _websockets() -> Iterator[tuple[str, ...]]:
    for route in streams.router(_bare_environment()).routes:
        path, endpoint = (
            str(getattr(route, "path", "")),
            cast(Callable[..., Any], getattr(route, "endpoint", None)),
        )
        inside = re.findall(r"{(\w+)}", path)
        names = [name for name in inspect.signature(endpoint).parameters if name not in ("socket", *inside)]
        asked = ", ".join(f"`{name}`" for name in names)
        yield f"`{path}`", asked, ROUTES[f"WEBSOCKET {path}"]


def _types(schemas: dict[str, Any]) -> Iterator[Block]:
    for name, schema in sorted(schemas.items()):
        if name not in _NOT_OURS:
            yield from _schema(name, schema)
    for kind in (v1.Event, v1.Problem):
        yield from _dataclass(kind)


def _schema(name: str, schema: dict[str, Any]) -> Iterator[Block]:
    yield Heading(3, name)
    if "description" in schema:
        yield _prose(schema["description"])
    needed = schema.get("required", ())
    rows = ((f"`{each}`", _type(of), "yes" if each in needed else "") for each, of in schema["properties"].items())
    yield Table(("field", "type", "always there"), tuple(rows))


def _dataclass(kind: type) -> Iterator[Block]:
    yield Heading(3, kind.__name__)
    yield _prose(inspect.getdoc(kind) or "")
    rows = []
    for field in fields(kind):
        words = {"str": "string", "int": "integer", "float": "number", "None": "null"}
        text = " or ".join(words.get(word, "object") for word in str(field.type).split(" | "))
        rows.append((f"`{field.name}`", text, "yes" if field.default is MISSING else ""))
    yield Table(("field", "type", "always there"), tuple(rows))


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")
