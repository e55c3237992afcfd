"""Plays real vendor traffic to real SDKs and compares what custody kept with what was on the wire."""
