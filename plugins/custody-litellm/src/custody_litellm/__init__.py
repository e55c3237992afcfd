"""custody for litellm: one call as the program wrote it, whoever answers it in the end."""
