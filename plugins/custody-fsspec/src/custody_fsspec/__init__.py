"""custody on object stores: read ``storage.py`` first, then ``parts.py``."""
