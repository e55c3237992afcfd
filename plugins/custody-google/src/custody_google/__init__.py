"""custody for Google's Gen AI SDK, and for whatever speaks the Gemini API."""
