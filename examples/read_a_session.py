"""Who answered what: a stored session as a table.

python examples/read_a_session.py projects/examples/experiments/resume/sessions/session_...
"""

import sys

import custody

session = custody.open(sys.argv[1])
print(session.status()["outcomes"])
for call in session.calls():
    forensics = call.model_forensics
    evidence = call.fields["evidence"]["actual_model"]
    print(call.id, call.scope, forensics["vendor"], forensics["actual_model"], f"[{evidence}]", call.outcome)
