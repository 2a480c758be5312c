"""Find the answer in what a model wrote: without its thinking, its hidden channels, and what follows its end. No I/O.

Servers and templates leave special tokens in the text. The families write them in different ways:

    <think>...</think>ANSWER                                                    most thinking models
    <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>ANSWER<|return|>   gpt-oss
    <|channel>thought ... <channel|>ANSWER<turn|>                               Gemma
    ANSWER<|im_end|> ...                                                        what follows is another turn
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from autoresearch.errors import EditError

# A special token, or the heading of another turn. Each alternative is of bounded length.
_TOKEN = re.compile(
    r"(?<!`)(?:<[^<>\n]{1,60}>|&lt;[^<>&\n]{1,60}&gt;|\[/?[A-Z]{4,5}\]|◁/?think▷)"
    r"|^(?:human|user|system)[ ]?:(?!=)|^\#{2,4}[ ]?(?:human|user|system|instruction|input)[ ]?:?[ ]{0,4}$",
    re.IGNORECASE | re.MULTILINE,
)
_THINK = (
    r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|seed:think|inst_think|\|?begin_of_thought\|?"
    r"|\|start_thinking\|)"
)
_KINDS = {  # what a token does -> its form
    "channel": r"<\|channel\|?>",
    "opens": rf"(?:<|&lt;) ?{_THINK}(?: [a-z_]{{1,20}}=[^<>]*)? ?(?:>|&gt;)|\[THINK\]|◁think▷",
    "closes": rf"(?:<|&lt;) ?/{_THINK} ?(?:>|&gt;)|<\|?end_of_thought\|?>|<\|end_thinking\|>|\[/THINK\]|◁/think▷"
    r"|<channel\|>",
    "message": r"<\|message\|>|<\|start_response\|>|<\|begin_of_solution\|>",
    "begins": r"<\|(?:im_start|start|start_header_id|start_of_turn|user|assistant|system|turn|begin_of_text)\|?>"
    r"|<start_of_turn>|<bos>|<s>|\[INST\]",
    "ends": r"<[|｜][a-z0-9_▁]+[|｜]>|</s>|<eos>|<end_of_turn>|<turn\|>|<end_of_utterance>|\[/INST\]|[a-z# ]+:? *",
}
_FORMS = {kind: re.compile(form, re.IGNORECASE) for kind, form in _KINDS.items()}
_CHANNEL = re.compile(r" {0,4}([a-z_]{0,20})", re.IGNORECASE)  # its name
_ROLE = re.compile(r"(?: {0,4}(?:assistant|model|user|system)\b)?", re.IGNORECASE)
_HARMONY = re.compile(r"analysis(?=[A-Z ])")  # its channels with the special tokens taken out
_SHOWN = ("final", "answer", "response", "")  # channels that are not hidden


def answer(reply: str) -> str:
    """Return the answer that a model's text holds, with "\\n" as the only line end.

    >>> answer("<think>Or 8?</think>SET DEPTH = 6<|im_end|>SET DEPTH = 2")
    'SET DEPTH = 6'

    Raises EditError when the model was still thinking at the end.
    """
    text = reply.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    if "\n" not in text:  # a JSON string with escaped line ends
        text = text.replace("\\n", "\n")
    shown, hidden = _shown(_without_bare_harmony(text))
    if hidden and not shown.strip():
        raise EditError("The reply ended while still thinking. Think less and answer with the edit at once.")
    return shown.rstrip()


def without_thinking(reply: str) -> str:
    """Return the answer that a model's text holds, empty where it was still thinking at the end."""
    try:
        return answer(reply)
    except EditError:
        return ""


def _shown(text: str) -> tuple[str, bool]:
    """Return the text outside of all hidden parts up to its end, and whether a hidden part is open there."""
    shown, before, at = "", "", 0
    hidden: str | None = None  # the kind of token that has opened the hidden part
    for token, kind in _tokens(text):
        if hidden is None:
            shown += text[at : token.start()]
        at = token.end()
        if kind == "channel" and (name := _CHANNEL.match(text, at)):
            at = name.end()
            kind = "closes" if name[1].lower() in _SHOWN else kind
        if kind == "closes":  # without an opening token, all before it was thinking: the template has opened it
            before, shown, hidden = (shown if hidden else ""), "", None
        elif kind in ("opens", "channel"):
            hidden = kind
        elif kind == "message" and hidden is None:
            shown = ""
        elif kind == "begins" and (hidden == "channel" or not (hidden or shown.strip())):
            hidden, at = None, _role_end(text, at)
        elif kind in ("begins", "ends") and (shown.strip() if hidden is None else hidden == "opens"):
            break
    else:
        shown += text[at:] if hidden is None else ""
    return (shown if shown.strip() else before), hidden is not None


def _tokens(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the special tokens with what they do; other tags are not tokens."""
    for token in _TOKEN.finditer(text):
        kind = next((kind for kind, form in _FORMS.items() if form.fullmatch(token[0])), None)
        if kind is not None:
            yield token, kind


def _role_end(text: str, at: int) -> int:
    """Return where the role behind the beginning of a turn ends: "<|im_start|>assistant"."""
    role = _ROLE.match(text, at)
    return role.end() if role else at


def _without_bare_harmony(text: str) -> str:
    """Cut "analysisThe loss ... assistantfinalSET DEPTH = 6" to its final channel."""
    start, _, final = text.partition("assistantfinal")
    return final if _HARMONY.match(start) and final else text
