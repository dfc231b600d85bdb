"""What people read, in their language: gettext, with the .po files read as they are so that none is ever stale."""

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
    """The catalogue of a language; English is what the code says."""
    if language is Language.ENGLISH:
        return gettext.NullTranslations()
    source = resources.files("watchkeeper.collector") / "locale" / f"{language.value}.po"
    compiled = io.BytesIO()
    try:
        with source.open("rb") as file:
            write_mo(compiled, read_po(file, locale=language.value))
    except (OSError, ValueError) as error:  # a page in English is better than none
        log.error("%s cannot be read (%s); messages are in English", source, error)  # noqa: TRY400 -- once, and no bug
        return gettext.NullTranslations()
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def translator(language: Language) -> Translate:
    """The function that turns an English text into a person's own."""
    known = translations(language).gettext
    return lambda text: known(text) if text else ""  # to nothing, gettext answers with the catalogue's head


def marked(text: str) -> str:
    """Mark a text for translation where it stands; it is translated where it is shown."""
    return text
