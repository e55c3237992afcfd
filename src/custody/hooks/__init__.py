"""The plugin manager. ``discovery`` finds plugins, ``manager`` has one typed method per hook."""
