"""Older layouts become sessions of layout v3: read, planned, copied, verified, taken back. Nothing is moved.

``source`` walks, ``detect`` tells the generations apart, one reader each makes ``legacy.Reading`` of a file,
``joining`` finds which ids are one run, ``merging`` which records are one call, ``plan`` puts it together,
``apply`` writes it, ``check`` verifies it and ``rollback`` takes it back.
"""
