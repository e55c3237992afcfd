"""custody for Cohere's SDK."""
