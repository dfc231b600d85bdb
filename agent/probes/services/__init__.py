"""Services as their clients see them: one module for each kind, and `check` for the parts they share."""
