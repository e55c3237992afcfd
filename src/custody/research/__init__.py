"""What a study is made of: stages, steps and their checkpoints, a plan of work, frozen definitions, results.

``checkpoints`` keeps what a stage leaves, ``stages`` and ``steps`` decide what is skipped, ``plan`` walks the
matrix of documents, runs and conditions, ``snapshots`` freezes what a session was about.
"""
