"""Hold edits of testbed/honest/base.py that cannot work, one for each way in which a change of code goes wrong."""

from __future__ import annotations

ATTENTION = "x = x + self.attn(norm(x))"
OUT = "return self.out(y.transpose(0, 2, 1, 3).reshape(B, T, C))"
EMBEDDED = "        x = norm(self.wte(idx))\n"
HEAD = "return self.head(norm(x))"
LOSS = "return prepare.cross_entropy(model(x), y)"
SCHEDULE = "return min(1.0, 2 - 2 * progress)"
START = "    previous = None\n"

# name -> (an edit of testbed/honest/base.py, part of what is said of it)
BROKEN = {
    "a shape": (OUT, "return self.out(y.reshape(B, C, T))", r"ValueError: \[matmul\]"),
    "a name": (HEAD, "return self.head(nrom(x))", "NameError: name 'nrom'"),
    "an attribute": (HEAD, "return self.heads(norm(x))", "AttributeError: .*heads"),
    "an argument": (ATTENTION, "x = x + self.attn(norm(x), None)", "TypeError: .*positional"),
    "a constant that is not there": ("ROWS = 4", "ROWS = 4 * LAYERS", "NameError: name 'LAYERS'"),
    "a broadcast": (ATTENTION, ATTENTION + "[:, 1:]", "broadcast"),
    "an endless recursion": (SCHEDULE, "return schedule(progress)", "RecursionError"),
    "no module": ("return GPT(config)", "GPT(config)", "interface: build_model.*NoneType"),
    "logits of another shape": (HEAD, HEAD + "[:, 1:]", "interface: .*found .1, 63, 256"),
    "features instead of logits": (HEAD, "return norm(x)", r"interface: model\(idx\) must .*found .1, 64, 32"),
    "logits in a tuple": (HEAD, HEAD + ", x", "interface: .*found tuple"),
    "whole numbers as logits": (HEAD, HEAD + ".astype(mx.int32)", "interface: .*int32"),
    "a loss that is NaN": (LOSS, "return mx.log(-prepare.cross_entropy(model(x), y))", "nonfinite: the loss is nan"),
    "logits that are NaN": (HEAD, "return self.head(norm(x) / 0.0 * 0.0)", "nonfinite: .*not finite"),
    "a gradient that is NaN": (HEAD, HEAD + " + 0 * mx.sqrt(nn.relu(x - 1e9)).sum()", "nonfinite: .*(loss|gradient)"),
    "a loss for each token": (LOSS, "return prepare.cross_entropy(model(x), y, 'none')", "ValueError: .*shape"),
    "a loss that is no number": ("run.log(step - 1, previous)", "run.log(step - 1, y)", "interface: .*array of shape"),
    "no data": ("run.batches(ROWS)", "[]", "interface: .*without asking"),
    "no update": ("        opt.update(model, grads)\n", "", "interface: .*left every parameter"),
    "steps before the clock that stay": (
        START,
        f"    opt.update(model, loss_and_grad(*run.warmup_batch(2))[1])\n{START}",
        "warmup: the parameters changed",
    ),
    "a schedule that ends early": (SCHEDULE, "return math.sqrt(0.9 - progress)", "ValueError: .*math"),
    "a look ahead": (', mask="causal")', ")", "probe_causality"),
    "a mean over time": (EMBEDDED, EMBEDDED + "        x = x - x.mean(1, keepdims=True)\n", "probe_causality"),
    "the number of rows": (
        EMBEDDED,
        EMBEDDED + "        x = x if len(x) == 1 else x.reshape(ROWS, -1, WIDTH)\n",
        "interface: .*found .4, 48, 256",
    ),
}  # fmt: skip
