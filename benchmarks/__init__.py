"""What custody costs, measured: ``make bench`` writes ``results.md``; ``docs/overhead.md`` explains it.

``subject`` is one measured program in a process of its own; ``rounds`` lets several take turns against
``vendor``; ``overhead``, ``peers``, ``replay``, ``scale`` and ``space`` are what is asked of them; ``goals``
and ``results`` say how it went.
"""
