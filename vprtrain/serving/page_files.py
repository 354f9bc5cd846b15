"""The files of the web page, which are part of the package."""

from __future__ import annotations

import mimetypes
from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from vprtrain.files import sha256
from vprtrain.serving.problems import ProblemError

INDEX = "index.html"


def page_routes() -> APIRouter:
    """``/`` and ``/page/{file}``. The files are read once, so no path leads out of them."""
    router = APIRouter(include_in_schema=False)
    folder = files("vprtrain.serving") / "page"
    contents = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    tags = {name: f'"{sha256(content)[:16]}"' for name, content in contents.items()}

    @router.get("/")
    async def index(request: Request) -> Response:
        return answer(request, INDEX)

    @router.get("/page/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in contents:
            raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such file of the page")
        return answer(request, name)

    def answer(request: Request, name: str) -> Response:
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        kind = mimetypes.types_map.get("." + name.rpartition(".")[2], "application/octet-stream")
        return Response(contents[name], media_type=kind, headers=headers)

    return router
