"""Which trouble an incident is part of, what becomes of the troubles, and what people are told of that."""
