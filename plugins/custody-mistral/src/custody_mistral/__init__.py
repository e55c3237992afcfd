"""custody for Mistral's SDK."""
