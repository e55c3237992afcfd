"""The built-in plugins. They are registered like everybody's: through the hooks, without a back door."""
