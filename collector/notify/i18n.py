"""Translations by gettext. The .po files are read at run time, so that no compiled catalogue can be out of date.

LANGUAGE.po has the texts of pages and messages. LANGUAGE.filled.po has those that agents, channels and the store give, which come
with their parameters filled in (`filled`)."""

import functools
import gettext
import io
import logging
from collections.abc import Callable
from importlib import resources

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from watchkeeper.collector.notify.filled import FilledTexts
from watchkeeper.collector.site.inventory import Language
from watchkeeper.model.text import marked as marked  # noqa: PLC0414 -- the mark and the translation are imported together

log = logging.getLogger(__name__)

Translate = Callable[[str], str]


@functools.cache
def translations(language: Language) -> gettext.NullTranslations:
    """The catalogue of a language. English needs none: the texts in the code are English."""
    catalogue = _catalogue(language, f"{language.value}.po")
    if catalogue is None:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@functools.cache
def _filled(language: Language) -> FilledTexts:
    words = {msgid: text for msgid, text in _texts(language, f"{language.value}.po").items() if "{" not in msgid}
    return FilledTexts(_texts(language, f"{language.value}.filled.po"), words)


def _texts(language: Language, name: str) -> dict[str, str]:
    return {str(one.id): str(one.string) for one in _catalogue(language, name) or () if one.id and one.string}


def _catalogue(language: Language, name: str) -> Catalog | None:
    if language is Language.ENGLISH:
        return None
    source = resources.files("watchkeeper.collector") / "locale" / name
    try:
        with source.open("rb") as file:
            return read_po(file, locale=language.value)
    except (OSError, ValueError) as error:  # a page in English is better than none
        log.error("%s cannot be read (%s); messages are in English", source, error)  # noqa: TRY400 -- a traceback would not help the operator
        return None


@functools.cache
def translator(language: Language) -> Translate:
    """The function that translates an English text into a language: a text of the code, or one that was made elsewhere and
    has its parameters in it. An unknown text, such as an operator's own, is returned as it is."""
    if language is Language.ENGLISH:
        return str
    known, filled = translations(language).gettext, _filled(language).translate

    def say(text: str) -> str:
        if not text:  # for "", gettext returns the catalogue's header
            return ""
        found = known(text)
        return found if found != text else filled(text)

    return say
