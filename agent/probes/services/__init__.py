"""Services as their clients see them: one module a kind, `check` for what they share."""
