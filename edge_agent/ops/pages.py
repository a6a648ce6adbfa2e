"""The files of the status page, read once."""

import hashlib
from pathlib import Path

from aiohttp import web

_FOLDER = Path(__file__).with_name("web")
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


class Pages:
    """Serves the files: those below ``/web/`` by their names, the page at ``/``, the form at ``/login``."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = {name: (body, f'"{hashlib.sha256(body).hexdigest()[:16]}"') for name, body in files.items()}

    @classmethod
    def read(cls) -> "Pages":
        """Read the files; on a thread."""
        return cls({path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES})

    def add_to(self, application: web.Application) -> None:
        """Add the addresses of the files."""
        application.router.add_get("/", self._get_index)
        application.router.add_get("/login", self._get_login)
        application.router.add_get("/web/{name}", self._get)

    async def _get(self, request: web.Request) -> web.Response:
        return self._file(request, request.match_info["name"])

    async def _get_index(self, request: web.Request) -> web.Response:
        return self._file(request, "index.html")

    async def _get_login(self, request: web.Request) -> web.Response:
        return self._file(request, "login.html")

    def _file(self, request: web.Request, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound
        body, tag = self._files[name]
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers, content_type=_TYPES[Path(name).suffix], charset="utf-8")
