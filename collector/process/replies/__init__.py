"""Answers of persons by channels with a way back: SMS, mail, webhook."""
