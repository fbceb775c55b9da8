"""Systems put together: the stages that fit one, and what one asks of it."""
