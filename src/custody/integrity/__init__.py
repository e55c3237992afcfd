"""Files that prove something: hash-linked chronologs, and the verification of a session."""
