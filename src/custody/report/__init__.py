"""Work on stored sessions, read-only: ``stored`` opens one, ``verify`` checks it, ``forensics`` says who answered
(``flags``, ``model_names``), ``misses`` why a request is not answered from it."""
