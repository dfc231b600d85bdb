"""Translations by gettext. The .po files are read at run time, so that no compiled catalogue can be out of date."""

import functools
import gettext
import io
import logging
from collections.abc import Callable
from importlib import resources

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from watchkeeper.collector.site.inventory import Language

log = logging.getLogger(__name__)

Translate = Callable[[str], str]


@functools.cache
def translations(language: Language) -> gettext.NullTranslations:
    """The catalogue of a language. English needs none: the texts in the code are English."""
    if language is Language.ENGLISH:
        return gettext.NullTranslations()
    source = resources.files("watchkeeper.collector") / "locale" / f"{language.value}.po"
    compiled = io.BytesIO()
    try:
        with source.open("rb") as file:
            write_mo(compiled, read_po(file, locale=language.value))
    except (OSError, ValueError) as error:  # a page in English is better than none
        log.error("%s cannot be read (%s); messages are in English", source, error)  # noqa: TRY400 -- a traceback would not help the operator
        return gettext.NullTranslations()
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def translator(language: Language) -> Translate:
    """The function that translates an English text into a language."""
    known = translations(language).gettext
    return lambda text: known(text) if text else ""  # for "", gettext returns the catalogue's header


def marked(text: str) -> str:
    """Mark a text for translation. It is translated later, where it is shown."""
    return text
