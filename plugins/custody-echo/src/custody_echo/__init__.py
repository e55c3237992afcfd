"""custody for the echo SDK: the smallest complete vendor plugin."""
