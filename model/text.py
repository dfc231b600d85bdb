"""Marks for texts that people read. A text is English where it is made, on the wire and in the database; the collector
shows it in the reader's language (`collector.notify.i18n`)."""


def marked(text: str) -> str:
    """Mark a text for the catalogue. An f-string is one too: its parameters become the placeholders of a template, and
    the collector finds the filled-in text by that template. tests/catalogue.py finds the marks, and the texts without
    one."""
    return text
