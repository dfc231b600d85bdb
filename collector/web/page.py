"""What every page has: the template environment, the reader's language, and the common part of the context."""

import functools
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from watchkeeper.collector.notify.i18n import translations
from watchkeeper.collector.notify.notice import About, page_path
from watchkeeper.collector.process.guarded_clock import state_of
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.self_metrics import installed_version
from watchkeeper.collector.site.inventory import Language
from watchkeeper.collector.web.edge.auth import CurrentRuntime, Identity, ReaderIdentity, is_open, renew
from watchkeeper.collector.web.edge.link import OpenedLink
from watchkeeper.collector.web.formatting import Formatter

LANGUAGE_COOKIE = "language"
_YEAR_S = 366 * 86_400
_LANGUAGE_NAMES = {Language.ENGLISH: "English", Language.CHINESE: "中文"}


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
    install = environment.install_gettext_translations  # type: ignore[attr-defined]  # added by the extension
    install(translations(language), newstyle=True)
    return environment


def language_of(request: Request) -> Language:
    """The first language that we have, of `?lang=`, the cookie and the browser's Accept-Language; else English."""
    chosen = [request.query_params.get("lang", ""), request.cookies.get(LANGUAGE_COOKIE, "")]
    ranked = []
    for place, part in enumerate(request.headers.get("accept-language", "").split(",")):
        tag, _, quality = part.partition(";q=")
        try:
            ranked.append((-float(quality or 1), place, tag.strip()))
        except ValueError:
            continue
    for tag in (*chosen, *(tag for _, _, tag in sorted(ranked))):
        short = tag.partition("-")[0].lower()
        if short in tuple(Language):
            return Language(short)
    return Language.ENGLISH


@dataclass(frozen=True, slots=True)
class PageContext:
    """What a page needs besides its own content. `link` is the personal link by which it was opened."""

    request: Request
    runtime: Runtime
    identity: Identity
    link: OpenedLink | None = None

    def show(self, template: str, code: int = 200, **content: Any) -> Response:
        """Render a template."""
        language = language_of(self.request)
        now = self.runtime.clock.wall()
        query = self.request.query_params
        text = _environment(language).get_template(template).render(
            fmt=Formatter(language, self.runtime.snapshot, now), identity=self.identity, now=now, problem=self._problem(),
            notice=self.runtime.notice if self._is_readable() else "",
            site=self.runtime.snapshot.configuration.inventory.site, path=self.request.url.path, version=installed_version(),
            clock=state_of(self.runtime.clock), link=self.link, session_page=self._session_page(), sends_links=self._sends_links(), readable=self._is_readable(),
            others=[(one.value, _LANGUAGE_NAMES[one]) for one in Language if one is not language], **content,
        )  # fmt: skip
        response = HTMLResponse(text, code)
        response.headers["vary"] = "Accept-Language, Cookie"
        if query.get("lang") == language.value:
            response.set_cookie(LANGUAGE_COOKIE, language.value, max_age=_YEAR_S, samesite="lax", httponly=True)
        renew(self.request, response, self.runtime, self.identity.session)
        return response

    def _session_page(self) -> str:
        """Where a person who is signed in finds what the link is about."""
        linked = self.link.link if self.link else None
        return page_path(About(linked.about), linked.id) if linked and linked.about != About.SIGN_IN else "/"

    def _sends_links(self) -> bool:
        """Whether a person can ask for a sign-in link."""
        return self.runtime.links is not None and bool(self.runtime.notifier().url)

    def _is_readable(self) -> bool:
        """Whether the other pages can be read from here."""
        return self.identity.person is not None or is_open(self.request)

    def _problem(self) -> str:
        """The errors in the configuration. They quote it, so that only a person who may read sees them."""
        return self.runtime.problem if self._is_readable() else ""


def page_context(request: Request, runtime: CurrentRuntime, identity: ReaderIdentity) -> PageContext:
    """The context of a page, for somebody who may read."""
    return PageContext(request, runtime, identity)


CurrentPage = Annotated[PageContext, Depends(page_context)]
