"""List replies as small models write them, each with its expected result, for test_replies.py."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

SOURCE = '''\
"""A small script."""

import mlx.nn as nn

DEPTH = 8  # layers
MATRIX_LR = 0.04  # Muon
WINDOW_PATTERN = "SSSL"
ADAM_BETAS = (0.8, 0.95)
TOTAL_BATCH_SIZE = 2**16  # tokens a step


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def __call__(self, x):
        x = self.c_fc(x)
        x = nn.relu(x)
        return self.c_proj(x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mlp = MLP(width)

    def __call__(self, x):
        return x + self.mlp(x)


def lr_scale(progress):
    if progress < 0.5:
        return 1.0

    return 2 * (1 - progress)


def build_model(task):
    return Block(64)


def train(model, run):
    for x, y in run.batches(16):
        loss = model(x) - y
        run.log(0, loss)
'''
RELU = "        x = nn.relu(x)"
SQUARED = "        x = nn.relu(x) ** 2"
BLOCK = f"<<<<<<< SEARCH\n{RELU}\n=======\n{SQUARED}\n>>>>>>> REPLACE\n"


@dataclass(frozen=True)
class Case:
    """Reply with its expected result: the constants that it changes, lines added and removed, or the error."""

    habit: str
    reply: str
    error: str | None = None
    sets: dict[str, Any] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


APPLIED = [
    Case("as asked", "HYPOTHESIS: More\nCATEGORY: depth\nTITLE: Deeper\nSET DEPTH = 10\n", sets={"DEPTH": 10}),
    Case("no fields at all", "SET DEPTH = 10", sets={"DEPTH": 10}),
    Case("several constants", "SET DEPTH = 6\nSET MATRIX_LR = 0.05\n", sets={"DEPTH": 6, "MATRIX_LR": 0.05}),
    Case("lower-case set", "Set DEPTH = 10", sets={"DEPTH": 10}),
    Case("to instead of =", "SET DEPTH TO 10", sets={"DEPTH": 10}),
    Case(":= instead of =", "SET DEPTH := 10", sets={"DEPTH": 10}),
    Case("an annotation", "SET MATRIX_LR: float = 0.05", sets={"MATRIX_LR": 0.05}),
    Case("a bulleted list", "- SET DEPTH = 6\n- SET MATRIX_LR = 0.05", sets={"DEPTH": 6, "MATRIX_LR": 0.05}),
    Case("a numbered list", "1. SET DEPTH = 6\n2) SET MATRIX_LR = 0.05", sets={"DEPTH": 6, "MATRIX_LR": 0.05}),
    Case("backticks around a line", "`SET DEPTH = 6`", sets={"DEPTH": 6}),
    Case("backticks around the parts", "SET `DEPTH` = `6`", sets={"DEPTH": 6}),
    Case("bold", "**SET DEPTH = 6**", sets={"DEPTH": 6}),
    Case("the old value as a remark", "SET DEPTH = 6 (was 8)", sets={"DEPTH": 6}),
    Case("a comment", "SET DEPTH = 6  # fewer layers, more steps", sets={"DEPTH": 6}),
    Case("a full stop", "SET MATRIX_LR = 0.05.", sets={"MATRIX_LR": 0.05}),
    Case("a semicolon", "SET DEPTH = 6;", sets={"DEPTH": 6}),
    Case("a reason in brackets", "SET DEPTH = 6 (fewer layers, more steps)", sets={"DEPTH": 6}),
    Case("a reason after a dash", "SET DEPTH = 6 — fewer layers", sets={"DEPTH": 6}),
    Case("another language's comment", "SET DEPTH = 6 // fewer layers", sets={"DEPTH": 6}),
    Case("an arrow from the old value", "SET MATRIX_LR = 0.04 -> 0.05", sets={"MATRIX_LR": 0.05}),
    Case("from and to", "SET MATRIX_LR from 0.04 to 0.05", sets={"MATRIX_LR": 0.05}),
    Case("arithmetic", "SET MATRIX_LR = 0.04 * 1.5", sets={"MATRIX_LR": 0.06}),
    Case("a constant between half of a block's marks", "<<<search\n    DEPTH = 6\n>>>>>>> REPLACE", sets={"DEPTH": 6}),
    Case("half of itself", "SET DEPTH = DEPTH // 2", sets={"DEPTH": 4}),
    Case("half of itself, in floats", "SET DEPTH = DEPTH / 2", sets={"DEPTH": 4}),
    Case("a C++ remark with a number", "SET DEPTH = 6 // 2 fewer", sets={"DEPTH": 6}),
    Case("an assignment in place", "SET DEPTH //= 2\n* SET MATRIX_LR *= 1.5", sets={"DEPTH": 4, "MATRIX_LR": 0.06}),
    Case("typographic quotes", "SET WINDOW_PATTERN = “SL”", sets={"WINDOW_PATTERN": "SL"}),
    Case("a number in quotes", 'SET DEPTH = "6"', sets={"DEPTH": 6}),
    Case("a list for a tuple", "SET ADAM_BETAS = [0.9, 0.95]", sets={"ADAM_BETAS": (0.9, 0.95)}),
    Case("signs of mathematics", "SET MATRIX_LR = 5 × 1e−2", sets={"MATRIX_LR": 0.05}),
    Case("signs of another keyboard", "SET MATRIX_LR ＝ ０．０５", sets={"MATRIX_LR": 0.05}),
    Case("a colon instead of =", "SET MATRIX_LR: 0.05", sets={"MATRIX_LR": 0.05}),
    Case("invisible characters", "SET\u200b DEPTH\u00a0= 6", sets={"DEPTH": 6}),
    Case("an answer tag", "<answer>SET DEPTH = 6</answer>", sets={"DEPTH": 6}),
    Case("newlines as in a JSON string", "TITLE: Shallower\\nSET DEPTH = 6\\n", sets={"DEPTH": 6}),
    Case("another thinking tag", "<thought>\nSET DEPTH = 2\n</thought>\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("thinking in brackets", "[THINK]SET DEPTH = 2[/THINK]SET DEPTH = 6", sets={"DEPTH": 6}),
    Case("another language", "假设：更少的层。\n标题：更浅\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("a text that repeats itself", "SET DEPTH = 6\n" + "The model is good. " * 300, sets={"DEPTH": 6}),
    Case("a string without quotes", "SET WINDOW_PATTERN = L", sets={"WINDOW_PATTERN": "L"}),
    Case("the same twice", "SET DEPTH = 6\nSo:\nSET DEPTH = 6\n", sets={"DEPTH": 6}),
    Case("a fence around it", "```\nSET DEPTH = 6\n```", sets={"DEPTH": 6}),
    Case("everything in one fence", "```text\nTITLE: a\nSET DEPTH = 6\n```", sets={"DEPTH": 6}),
    Case("an assignment for a SET", "TITLE: a\n```python\nMATRIX_LR = 0.05\n```", sets={"MATRIX_LR": 0.05}),
    Case("assignments with comments", "DEPTH = 6  # was 8\nMATRIX_LR = 0.05", sets={"DEPTH": 6, "MATRIX_LR": 0.05}),
    Case("a blockquote", "> SET DEPTH = 6", sets={"DEPTH": 6}),
    Case("thinking tags", "<think>\nSET DEPTH = 2?\n</think>\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("an end tag alone", "Maybe SET DEPTH = 2\nSET DEPTH = 2\n</think>\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("thinking again at the end", "SET DEPTH = 6\n<think>\nWas that right?", sets={"DEPTH": 6}),
    Case("harmony channels", "<|channel|>analysis SET DEPTH = 2<|channel|>final<|message|>SET DEPTH = 6",
         sets={"DEPTH": 6}),
    Case("an end-of-turn token", "SET DEPTH = 6<|im_end|>", sets={"DEPTH": 6}),
    Case("text after an end token", "SET DEPTH = 6<|im_end|>\n<|im_start|>user\nSET ROPE = 1", sets={"DEPTH": 6}),
    Case("another turn after it", "SET DEPTH = 6\n\nHuman: That failed.\nSET MATRIX_LR = 0.05", sets={"DEPTH": 6}),
    Case("another end token", "SET DEPTH = 6</s>\nSET MATRIX_LR = 0.05</s>", sets={"DEPTH": 6}),
    Case("the harmony channels as sent", "<|channel|>analysis<|message|>SET DEPTH = 2<|end|><|start|>assistant"
         "<|channel|>final<|message|>SET DEPTH = 6<|return|>SET DEPTH = 4", sets={"DEPTH": 6}),
    Case("harmony without its tokens", "analysisWe have SET DEPTH = 2.assistantfinalSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("Gemma's channel", "<|channel>thought\nSET DEPTH = 2\n<channel|>SET DEPTH = 6<turn|>", sets={"DEPTH": 6}),
    Case("thinking inside a line", "Well. <think>SET DEPTH = 2</think> Now:\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("CRLF", "TITLE: a\r\nSET DEPTH = 6\r\n", sets={"DEPTH": 6}),
    Case("a byte order mark", "\ufeffSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("chatter around", "Sure! Here is my idea.\n\nSET DEPTH = 6\n\nLet me know how it goes!", sets={"DEPTH": 6}),
    Case("prose that says set", "We could set things to something.\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("a formula with names", "SET MATRIX_LR = MATRIX_LR * 1.5", sets={"MATRIX_LR": 0.06}),
    Case("a value that it leaves", "MATRIX_LR = 0.04 (current)\n\nSET DEPTH = 6", sets={"DEPTH": 6}),
    Case("present values before the new one", "The script has\nDEPTH = 8\nMATRIX_LR = 0.04\n\nNew value:\nDEPTH = 6",
         sets={"DEPTH": 6}),
    Case("a diff", "```diff\n-DEPTH = 8\n+DEPTH = 6\n```", sets={"DEPTH": 6}),
    Case("a diff without a fence", "TITLE: a\n-DEPTH = 8  # layers\n+DEPTH = 6  # layers", sets={"DEPTH": 6}),
    Case("a diff with headers", "--- a/train_mlx.py\n+++ b/train_mlx.py\n@@ -19,3 +19,3 @@\n         x = self.c_fc(x)\n"
         "-        x = nn.relu(x)\n+        x = nn.relu(x) ** 2\n         return self.c_proj(x)",
         added=(SQUARED,), gone=(RELU,)),
    Case("a constant's line without its comment", "<<<<<<< SEARCH\nDEPTH = 8\n=======\nDEPTH = 6\n>>>>>>> REPLACE",
         sets={"DEPTH": 6}),
    Case("a block", BLOCK, added=(SQUARED,), gone=(RELU,)),
    Case("a block in a fence", f"```python\n{BLOCK}```", added=(SQUARED,), gone=(RELU,)),
    Case("a diff fence with a file name", f"train_mlx.py\n```diff\n{BLOCK}```", added=(SQUARED,), gone=(RELU,)),
    Case("five-character markers", BLOCK.replace("<<<<<<<", "<<<<<").replace(">>>>>>>", ">>>>>"), added=(SQUARED,)),
    Case("nine-character markers", BLOCK.replace("=======", "========="), added=(SQUARED,)),
    Case("git's markers", BLOCK.replace("SEARCH", "HEAD").replace("> REPLACE", "> new"), added=(SQUARED,)),
    Case("a colon after the marker", BLOCK.replace("SEARCH", "SEARCH:"), added=(SQUARED,)),
    Case("an indented block", textwrap.indent(BLOCK, "    "), added=(SQUARED,), gone=(RELU,)),
    Case("the indentation lost", textwrap.dedent(BLOCK.replace("        ", "")), added=(SQUARED,), gone=(RELU,)),
    Case("trailing blanks", BLOCK.replace("relu(x)\n=", "relu(x)   \n="), added=(SQUARED,)),
    Case("a blank line left out", "<<<<<<< SEARCH\n        return 1.0\n    return 2 * (1 - progress)\n=======\n"
         "        return 1.5\n    return 3 * (1 - progress)\n>>>>>>> REPLACE", added=("        return 1.5",)),
    Case("blank lines around SEARCH", BLOCK.replace("SEARCH\n", "SEARCH\n\n"), added=(SQUARED,)),
    Case("fences inside the halves", f"<<<<<<< SEARCH\n```python\n{RELU}\n```\n=======\n```python\n{SQUARED}\n```\n"
         ">>>>>>> REPLACE", added=(SQUARED,), gone=(RELU,)),
    Case("an empty REPLACE", f"<<<<<<< SEARCH\n{RELU}\n=======\n>>>>>>> REPLACE", gone=(RELU,)),
    Case("a REPLACE of one blank line", f"<<<<<<< SEARCH\n{RELU}\n=======\n\n>>>>>>> REPLACE", gone=(RELU,)),
    Case("a divider inside REPLACE", f"<<<<<<< SEARCH\n{RELU}\n=======\n{RELU}\n        note = '''\n=======\n'''\n"
         ">>>>>>> REPLACE", added=("=======",)),
    Case("two blocks", BLOCK + "<<<<<<< SEARCH\n        return 1.0\n=======\n        return 0.9\n>>>>>>> REPLACE",
         added=(SQUARED, "        return 0.9")),
    Case("a block and a SET", BLOCK + "SET DEPTH = 6", sets={"DEPTH": 6}, added=(SQUARED,)),
    Case("a SET of a constant that a block shows", "SET DEPTH = 6\n<<<<<<< SEARCH\nDEPTH = 8  # layers\n=======\n"
         "DEPTH = 8  # layers\nWIDTH = 64\n>>>>>>> REPLACE", sets={"DEPTH": 6, "WIDTH": 64}),
    Case("a block and the same SET", "<<<<<<< SEARCH\nDEPTH = 8  # layers\n=======\nDEPTH = 6\n>>>>>>> REPLACE\n"
         "SET DEPTH = 6", sets={"DEPTH": 6}),
    Case("a function", "REPLACE def lr_scale\n```python\ndef lr_scale(progress):\n    return 1 - progress\n```",
         added=("    return 1 - progress",), gone=("        return 1.0",)),
    Case("a function without a fence", "REPLACE def lr_scale\ndef lr_scale(progress):\n    return 1 - progress\n",
         added=("    return 1 - progress",)),
    Case("a signature in the heading", "### REPLACE def lr_scale(progress): with\n~~~py\ndef lr_scale(progress):\n"
         "    return 1 - progress\n~~~", added=("    return 1 - progress",)),
    Case("the word function", "REPLACE function `lr_scale`\n```\ndef lr_scale(progress):\n    return 1 - progress\n```",
         added=("    return 1 - progress",)),
    Case("a fence that never closes", "REPLACE def lr_scale\n```\ndef lr_scale(progress):\n    return 1 - progress",
         added=("    return 1 - progress",)),
    Case("a method by its full name", "REPLACE def MLP.__call__\n```\ndef __call__(self, x):\n    return x\n```",
         added=("        return x",), gone=(RELU,)),
    Case("a class",
         "REPLACE class MLP\n```\nclass MLP(nn.Module):\n    def __call__(self, x):\n        return 2 * x\n```",
         added=("        return 2 * x",), gone=(RELU,)),
    Case("a heading above a block", f"REPLACE class MLP\n\n{BLOCK}", added=(SQUARED,)),
    Case("a whole file", "TITLE: all\n```python\n" + SOURCE.replace("= 8", "= 6") + "```", sets={"DEPTH": 6}),
    Case("a whole file without a fence", "TITLE: all\n\n" + SOURCE.replace("= 8", "= 6"), sets={"DEPTH": 6}),
    Case("a whole file in a long fence", "````\n" + SOURCE.replace("= 8", "= 6") + "````", sets={"DEPTH": 6}),
]  # fmt: skip

REFUSED = [
    Case("nothing", "", error="The reply is empty"),
    Case("blanks", " \n\n\t", error="The reply is empty"),
    Case("only prose", "I think the model should be deeper.", error="The reply holds no edit"),
    Case("a refusal", "I'm sorry, but I can't help with that.", error="The reply holds no edit"),
    Case("still thinking", "<think>\nLet me see. SET DEPTH = 6", error="still thinking"),
    Case("nothing after thinking", "<think>\nSET DEPTH = 6\n</think>\n", error="The reply is empty"),
    Case("a unified diff of another file", "--- a/train_mlx.py\n+++ b/train_mlx.py\n@@ -5,1 +5,1 @@\n-x = 8\n+x = 6",
         error="nothing in the file is like it"),
    Case("a diff of another value", "-DEPTH = 4\n+DEPTH = 3", error="The file has DEPTH = 8, not 4"),
    Case("a diff of another value in SETs", "- SET DEPTH = 4\n+ SET DEPTH = 3", error="The file has DEPTH = 8, not 4"),
    Case("a removed line alone", "-DEPTH = 4", error="The reply holds no edit"),
    Case("present values", "The script has these constants:\nDEPTH = 6\nMATRIX_LR = 0.05\nI would go deeper.",
         error="The reply holds no edit"),
    Case("a present value with a remark", "DEPTH = 6  # current", error="The reply holds no edit"),
    Case("a SET that states", "SET DEPTH = 6 (unchanged)", error="The reply holds no edit"),
    Case("present values that are named after", "```\nDEPTH = 6\n```\nwas too shallow, I think.",
         error="The reply holds no edit"),
    Case("an open channel", "<|channel>thought\nSET DEPTH = 6", error="still thinking"),
    Case("analysis alone", "<|channel|>analysis<|message|>SET DEPTH = 6", error="still thinking"),
    Case("an end while thinking", "<think>\nSET DEPTH = 6<|im_end|>\nSET DEPTH = 6", error="still thinking"),
    Case("thinking that begins in a line", "Let me see. <think>\nSET DEPTH = 6", error="The reply holds no edit"),
    Case("a formula with an unknown name", "SET MATRIX_LR = LR * 1.5", error="has to be a literal"),
    Case("brackets without end", "SET DEPTH = " + "[" * 100_000, error="has to be a literal"),
    Case("a deep expression", "REPLACE def lr_scale\n```\ndef lr_scale(progress):\n    return " + "-" * 900 + "1\n```",
         error="nested in more than 100 levels"),
    Case("JSON", '{"edits": [{"name": "DEPTH", "value": 6}]}', error="is JSON"),
    Case("JSON in a fence", '```json\n{"name": "DEPTH", "value": 6}\n```', error="is JSON"),
    Case("a tool call", '<tool_call>{"name": "set"}</tool_call>', error="The reply holds no edit"),
    Case("an arrow", "DEPTH: 8 -> 6", error="The reply holds no edit"),
    Case("a SET without =", "SET DEPTH 6", error="Write it as `SET NAME = literal`"),
    Case("a SET without a value", "SET DEPTH =", error="has to be a literal"),
    Case("a SET without anything", "SET DEPTH", error="is not complete"),
    Case("an unknown constant", "SET DEPHT = 6", error="Did you mean DEPTH = 8"),
    Case("a dotted name", "SET config.DEPTH = 6", error="no such constant. Did you mean DEPTH"),
    Case("two SETs on a line", "SET DEPTH = 6, MATRIX_LR = 0.05", error="each SET on a line of its own"),
    Case("two SETs in a sentence", "SET DEPTH = 6 and SET MATRIX_LR = 0.05", error="each SET on a line of its own"),
    Case("a word in quotes", 'SET DEPTH = "six"', error="the new value is a string"),
    Case("an unfinished thought", "SET MATRIX_LR = 0.04 or maybe 0.05", error="has to be a literal"),
    Case("a wrong type", "SET DEPTH = 6.5", error="is a whole number"),
    Case("a range", "SET DEPTH = 4-6", error="reads as a range"),
    Case("alternatives", "SET DEPTH = 4 or 6", error="has to be a literal"),
    Case("a thousands separator", "SET TOTAL_BATCH_SIZE = 32,768", error="the new value is a tuple"),
    Case("a caret for a power", "SET TOTAL_BATCH_SIZE = 2^14", error="has to be a literal"),
    Case("a percentage", "SET MATRIX_LR = 5%", error="has to be a literal"),
    Case("the form itself", "SET NAME = literal\nSET DEPTH = 6", error="SET NAME: there is no such constant"),
    Case("before and after", "```\nDEPTH = 8\n```\nAfter:\n```\nDEPTH = 6\n```", error="DEPTH is set to 8 and to 6"),
    Case("a number without end", "SET DEPTH = 10**10**10", error="has to be a literal"),
    Case("a digit without end", "SET DEPTH = " + "9" * 450, error="has to be a literal"),
    Case("an infinite number", "SET MATRIX_LR = 1e999", error="has to be finite"),
    Case("tabs for spaces", "<<<<<<< SEARCH\n\t\tx = nn.relu(x)\n=======\n\t\tx = 1\n>>>>>>> REPLACE",
         error="not valid Python"),
    Case("escaped markers", BLOCK.replace("<", "&lt;").replace(">", "&gt;"), error="The reply holds no edit"),
    Case("a table", "| constant | value |\n|---|---|\n| DEPTH | 6 |", error="The reply holds no edit"),
    Case("all on one line", "HYPOTHESIS: a CATEGORY: depth TITLE: b SET DEPTH = 6", error="The reply holds no edit"),
    Case("an edit in prose", "Replace `DEPTH = 8` with `DEPTH = 6`.", error="The reply holds no edit"),
    Case("dots in SEARCH", "<<<<<<< SEARCH\ndef lr_scale(progress):\n    ...\n=======\nx\n>>>>>>> REPLACE",
         error="closest are lines"),
    Case("units", "SET DEPTH = 6 layers", error="has to be a literal"),
    Case("two values", "SET DEPTH = 6\nSET DEPTH = 4", error="DEPTH is set to 6 and to 4"),
    Case("the value it has", "SET DEPTH = 8", error="changes nothing"),
    Case("the value it has, spelled anew", "SET TOTAL_BATCH_SIZE = 65536", error="changes nothing"),
    Case("a search that is not there", BLOCK.replace("relu(x)\n=", "gelu(x)\n="), error="closest is line 20"),
    Case("a search like nothing", "<<<<<<< SEARCH\nqqqq\n=======\nx\n>>>>>>> REPLACE",
         error="nothing in the file is like"),
    Case("half a line", "<<<<<<< SEARCH\ndef lr_scale\n=======\ndef scale\n>>>>>>> REPLACE",
         error="def lr_scale(progress):"),
    Case("several matches", "<<<<<<< SEARCH\n        super().__init__()\n=======\n>>>>>>> REPLACE",
         error="matches 2 places, at lines 14, 26"),
    Case("several matches by indentation", "<<<<<<< SEARCH\nsuper().__init__()\n=======\n>>>>>>> REPLACE",
         error="matches 2 places, at lines 14, 26"),
    Case("indentation that differs by line", f"<<<<<<< SEARCH\nx = self.c_fc(x)\n{RELU}\n=======\nx\n>>>>>>> REPLACE",
         error="closest are lines 19 to 20"),
    Case("a REPLACE that cannot be indented",
         "<<<<<<< SEARCH\n            x = nn.relu(x)\n=======\nx = 1\n>>>>>>> REPLACE",
         error="the indentation of REPLACE does not fit"),
    Case("line numbers in SEARCH", "<<<<<<< SEARCH\n20:         x = nn.relu(x)\n=======\nx\n>>>>>>> REPLACE",
         error="closest is line 20"),
    Case("an empty SEARCH", "<<<<<<< SEARCH\n=======\nx = 1\n>>>>>>> REPLACE", error="SEARCH part is empty"),
    Case("no divider", f"<<<<<<< SEARCH\n{RELU}\n>>>>>>> REPLACE", error="has no ======= line"),
    Case("two pairs of markers", "<<<<<<< SEARCH\na\n>>>>>>> SEARCH\n<<<<<<< REPLACE\nb\n>>>>>>> REPLACE",
         error="has no ======= line"),
    Case("no end marker", f"<<<<<<< SEARCH\n{RELU}\n=======\n{SQUARED}\n", error="has no >>>>>>> REPLACE line"),
    Case("the next block before the end", BLOCK.replace(">>>>>>> REPLACE\n", "") + BLOCK,
         error="has no >>>>>>> REPLACE"),
    Case("the same in both halves", BLOCK.replace(SQUARED, RELU), error="SEARCH and REPLACE are the same"),
    Case("only a comment changed", BLOCK.replace(SQUARED, RELU + "  # squared?"),
         error="nothing but comments or layout"),
    Case("code left out", BLOCK.replace(SQUARED, "        # ... existing code ..."), error="stands for code"),
    Case("the rest left out", BLOCK.replace(SQUARED, "        # rest of the function unchanged"),
         error="stands for code"),
    Case("dots for code", BLOCK.replace(SQUARED, "        ..."), error="stands for code"),
    Case("broken Python", BLOCK.replace(SQUARED, "        x = nn.relu(x"),
         error="With these edits the file is not valid"),
    Case("a second block on changed text", BLOCK + BLOCK, error="SEARCH block 2: it matches nothing"),
    Case("an unknown function", "REPLACE def lr_scal\n```\ndef lr_scal(p):\n    return 1\n```",
         error="Did you mean lr_scale"),
    Case("a method of two classes", "REPLACE def __call__\n```\ndef __call__(self, x):\n    return x\n```",
         error="Say which: MLP.__call__, Block.__call__"),
    Case("a body of another name", "REPLACE def lr_scale\n```\ndef scale(p):\n    return 1\n```",
         error="must be `def lr_scale` and nothing else; it holds def scale"),
    Case("a body with a helper", "REPLACE def lr_scale\n```\nimport math\n\ndef lr_scale(p):\n    return 1\n```",
         error="it holds other code, def lr_scale"),
    Case("no body", "REPLACE def lr_scale\n", error="it holds nothing"),
    Case("a body that is not Python", "REPLACE def lr_scale\n```\ndef lr_scale(p)\n    return 1\n```",
         error="the body is not valid Python"),
    Case("train deleted", "<<<<<<< SEARCH\n" + SOURCE[SOURCE.index("def train") :] + "=======\n>>>>>>> REPLACE",
         error="lacks def train"),
    Case("a file cut off", "```python\n" + SOURCE.replace("= 8", "= 6")[:-20], error="inside the fence"),
    Case("a file cut off, without a fence", SOURCE.replace("= 8", "= 6")[:-5], error="not valid Python"),
    Case("a file with code left out", "```python\n" + SOURCE.replace(RELU, "        # ... same as before") + "```",
         error="stands for code"),
    Case("a file and an edit", "```python\n" + SOURCE + "```\nSET DEPTH = 6", error="a whole file and other edits"),
    Case("a file unchanged", "```python\n" + SOURCE + "```", error="nothing but comments or layout"),
    Case("a hundred edits", "SET DEPTH = 6\n" * 100, error="at most 40"),
]  # fmt: skip
