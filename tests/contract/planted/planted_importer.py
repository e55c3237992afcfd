"""A plugin that imports the SDK it is for."""

import echo_sdk  # noqa: F401
import planted_plugins


class Importing(planted_plugins.Sound):
    pass
