"""Files of the workspace's `assets/`, as mails show them. An address names the content: caches keep it for ever."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from nurture.content.workspace_files import content_type
from nurture.web.site import site_of

_HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "cross-origin-resource-policy": "cross-origin",  # mail programs on the web show them
    # a picture opened by itself: an SVG may hold a script
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


async def asset(request: Request) -> Response:
    """GET|HEAD /s/HASH/NAME"""
    site = site_of(request)
    name = "/".join(request.path_params[part] for part in ("folder", "name") if part in request.path_params)
    path = await site.in_thread(site.assets.find, request.path_params["digest"], name)
    if path is None:
        return site.notice(request, "not_found", status=404)
    return FileResponse(path, media_type=content_type(name), headers=_HEADERS)
