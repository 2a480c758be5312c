"""Describe to a model the forms of an answer. prompt.py puts them behind what the answer is to be about. No I/O."""

from __future__ import annotations

HEAD = """\
HYPOTHESIS: one or two sentences: what changes, and why val_bpb falls within the time budget
CATEGORY: one of {categories}
TITLE: the change in under 80 characters
"""

FORMS = {
    "set": """\
Then one to three lines that set constants, each a literal of the same type as now:
SET NAME = literal
""",
    "blocks": """\
Then the edits, as few and as short as possible, in any mix of these three forms.

A constant gets another value:
SET NAME = literal

Lines are replaced. SEARCH holds whole lines copied exactly from the script, enough of them to occur only once:
<<<<<<< SEARCH
lines of the script
=======
the lines that take their place
>>>>>>> REPLACE

A function, class or method is replaced as a whole:
REPLACE def name
```python
def name(...):
    all of its new lines
```
""",
    "function": """\
Then the whole new function, all of its lines, with the same name and arguments. It can use what is shown, mx, nn,
math and prepare, and no new import:
REPLACE def {target}
```python
{head}
    all of its new lines
```
""",
    "file": """\
Then the whole new script in one fenced block, complete, every line of it, without placeholders for unchanged code:
```python
the script
```
""",
}


MENU = """\
## Choose one of these changes

Each is new: it has not been tried tonight.
{menu}

## Answer with one JSON object

{{"because": "one sentence: what it changes, and why val_bpb falls within the time budget", "choice": "the line that \
you choose, without its number"}}
"""
