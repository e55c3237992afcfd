"""Archives as tables: files with a row for each call, and questions in SQL. See docs/export.md.

An export is a view of an archive, never its replacement: it can be made again at any time, and proves nothing.
"""
