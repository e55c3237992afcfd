"""Answers of an older layout, given to a program that asks for them again (``custody migrate`` put them there).

``stored`` finds them in an archive, ``matching`` says which one a call may have, ``shapes`` and the modules by
vendor give its text the form that the asked SDK expects. The form is made up here, the text is not; the answer
says so itself (``x-custody-origin``).
"""
