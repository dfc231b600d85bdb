"""A page as such: the template, the reader's language, and what every page shows."""

import functools
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from watchkeeper.collector.notify.i18n import translations
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.self_metrics import installed_version
from watchkeeper.collector.site.inventory import Language
from watchkeeper.collector.web.edge.auth import Reader, RuntimeHere, Visitor, is_open
from watchkeeper.collector.web.formatting import Formatter

LANGUAGE_COOKIE = "language"
_YEAR_S = 366 * 86_400
_NAMES = {Language.ENGLISH: "English", Language.CHINESE: "中文"}


@functools.cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("watchkeeper.collector.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install = environment.install_gettext_translations  # type: ignore[attr-defined]  # the extension's
    install(translations(language), newstyle=True)
    return environment


def language_of(request: Request) -> Language:
    """`?lang=`, the cookie, what the browser accepts, English: the first that is a language we speak."""
    said = [request.query_params.get("lang", ""), request.cookies.get(LANGUAGE_COOKIE, "")]
    ranked = []
    for place, part in enumerate(request.headers.get("accept-language", "").split(",")):
        tag, _, quality = part.partition(";q=")
        try:
            ranked.append((-float(quality or 1), place, tag.strip()))
        except ValueError:
            continue
    for tag in (*said, *(tag for _, _, tag in sorted(ranked))):
        short = tag.partition("-")[0].lower()
        if short in tuple(Language):
            return Language(short)
    return Language.ENGLISH


@dataclass(frozen=True, slots=True)
class PageContext:
    """What a page needs besides its own matter."""

    request: Request
    runtime: Runtime
    who: Visitor

    def show(self, template: str, code: int = 200, **matter: Any) -> Response:
        """Render a template."""
        language = language_of(self.request)
        now = self.runtime.clock.wall()
        query = self.request.query_params
        text = _environment(language).get_template(template).render(
            w=Formatter(language, self.runtime.snapshot, now), who=self.who, now=now, problem=self._problem(),
            site=self.runtime.snapshot.configuration.inventory.site, path=self.request.url.path, version=installed_version(),
            others=[(one.value, _NAMES[one]) for one in Language if one is not language], **matter,
        )  # fmt: skip
        response = HTMLResponse(text, code)
        response.headers["vary"] = "Accept-Language, Cookie"
        if query.get("lang") == language.value:
            response.set_cookie(LANGUAGE_COOKIE, language.value, max_age=_YEAR_S, samesite="lax", httponly=True)
        return response

    def _problem(self) -> str:
        """What is wrong with the books. It quotes them, so a stranger who may not read does not see it."""
        return self.runtime.problem if self.who.person or is_open(self.request) else ""


def page_context(request: Request, runtime: RuntimeHere, who: Reader) -> PageContext:
    """The sheet of somebody who may read."""
    return PageContext(request, runtime, who)


Here = Annotated[PageContext, Depends(page_context)]
