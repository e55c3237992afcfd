"""A session's life: chosen or created, opened, joined by child processes, closed.

``choice`` decides which session a start means, ``manifest`` is what is fixed at creation, ``process``
holds the one active session of this process and the seams, ``session`` is what the program sees,
``recovery`` writes what a crash left.
"""
