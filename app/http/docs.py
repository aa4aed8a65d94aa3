"""The API's page. It loads only files of this service, and its policy allows no others."""

import base64
import hashlib
import re

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.routing import Mount, Route

from app.http.headers import POLICY
from app.http.routes import demands

PATH = "/docs"
ASSETS = "/static-offline-docs"

_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def install(app: FastAPI) -> None:
    """Serve the page without a key, with a policy that allows only its own script."""
    assert app.openapi_url is not None
    for route in app.routes:  # FastAPI's, of the document and the page's files
        if isinstance(route, Route) and route.path == app.openapi_url:
            demands(None)(route.endpoint)
        elif isinstance(route, Mount) and route.path == ASSETS:
            demands(None)(route.app)
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url,
        title=app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
        # By default the page sends the document's address to a validator on the Internet.
        swagger_ui_parameters={"validatorUrl": None},
    )
    headers = {POLICY: _policy(bytes(page.body))}

    @app.get(PATH, include_in_schema=False)
    @demands(None)
    def docs() -> HTMLResponse:
        return HTMLResponse(page.body, headers=headers)


def _policy(page: bytes) -> str:
    scripts = [_hash(script) for script in _INLINE.findall(page)]
    sources = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *scripts]),
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in sources.items())


def _hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
