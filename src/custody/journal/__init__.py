"""The journal: append-only segments of JSON lines, written by one writer each, readable by anyone.

``lines`` makes and checks a line, ``writer`` appends with group commit, ``scan`` reads segments and
resynchronises after damage, ``archive`` knows which call stands where, ``spill`` keeps what the
archive could not.
"""
