"""The pipeline: what happens to one call. Read ``flow`` first, it is the picture of the design in code.

``flow`` decides, ``call`` is one logical call, ``turn`` one exchange of it, ``outcome`` makes the call
line, ``explain`` says why a request is not in the archive.
"""
