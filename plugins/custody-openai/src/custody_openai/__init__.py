"""custody for the OpenAI SDK and for every endpoint that speaks its protocol."""
