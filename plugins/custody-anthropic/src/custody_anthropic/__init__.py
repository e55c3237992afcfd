"""custody for the Anthropic SDK."""
