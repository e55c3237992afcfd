"""Kill this with Ctrl-C or worse, start it again: it goes on where it was.

python examples/resume_after_a_crash.py            needs OPENAI_API_KEY
"""

import openai

import custody

QUESTIONS = ["What is a chain of custody?", "What is a replicate?", "What does fdatasync promise?"]

client = openai.OpenAI()
with custody.session(project="examples", experiment="resume") as session, session.stage("questions"):
    for question in QUESTIONS:
        for run in range(2):
            with session.scope(question=question, run=run):
                answer = client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": question}]
                )
            print(run, question, "->", answer.choices[0].message.content)
