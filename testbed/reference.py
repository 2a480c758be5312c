"""Compute the baseline in NumPy float64, as an independent reference: it is written from the formulas alone.

It imports nothing of this project. Every layer function returns its output, and a function from the output's gradient
to the inputs' gradients. Parameters are a dictionary by flat name ("h.0.attn.c_q.weight"), in the shapes (out, in) that
the model uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS = 1e-6  # of RMSNorm
GATE = 32  # channels that a gate reads
SOFTCAP = 15.0

Params = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """Dimensions of the model: layers, heads, key/value heads, context and window pattern."""

    n_layer: int
    n_head: int
    n_kv_head: int
    context: int
    pattern: str = "L"

    def window(self, layer: int) -> int:
        short = self.pattern[layer % len(self.pattern)] == "S" and layer != self.n_layer - 1
        return self.context // 2 if short else self.context

    def has_value_embed(self, layer: int) -> bool:
        return layer % 2 == (self.n_layer - 1) % 2


# --- layers -----------------------------------------------------------------------------------------------------------


def linear(x, W):
    def back(dy):
        return dy @ W, dy.reshape(-1, W.shape[0]).T @ x.reshape(-1, W.shape[1])

    return x @ W.T, back


def norm(x):
    scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + EPS)
    y = x * scale
    return y, lambda dy: scale * (dy - y * (dy * y).mean(-1, keepdims=True))


def rotate(x):
    """Apply the rotary embedding to x (B, T, H, D), over split halves with base 10000."""
    T, D = x.shape[1], x.shape[3]
    angle = np.arange(T)[:, None] * 10000.0 ** (-np.arange(0, D, 2) / D)  # (T, D / 2)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def turn(x, sin):
        x1, x2 = x[..., : D // 2], x[..., D // 2 :]
        return np.concatenate([x1 * cos + x2 * sin, -x1 * sin + x2 * cos], -1)

    return turn(x, sin), lambda dy: turn(dy, -sin)


def attention(q, k, v, window):
    """Compute softmax attention over 0 <= i - j <= window: q (B, T, H, D), k and v (B, T, H_kv, D)."""
    B, T, H, D = q.shape
    group = H // k.shape[2]
    keys, values = np.repeat(k, group, 2), np.repeat(v, group, 2)
    distance = np.arange(T)[:, None] - np.arange(T)
    scores = np.einsum("bihd,bjhd->bhij", q, keys) / np.sqrt(D)
    scores = np.where((distance >= 0) & (distance <= window), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)

    def back(dy):
        dp = np.einsum("bihd,bjhd->bhij", dy, values)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(D)
        dk, dv = np.einsum("bhij,bihd->bjhd", ds, q), np.einsum("bhij,bihd->bjhd", p, dy)
        shared = (B, T, H // group, group, D)
        return np.einsum("bhij,bjhd->bihd", ds, keys), dk.reshape(shared).sum(3), dv.reshape(shared).sum(3)

    return np.einsum("bhij,bjhd->bihd", p, values), back


def attention_layer(x, ve, p: Params, path: str, shape: Shape, window: int):
    """Compute an attention layer. Its `back` returns (dx, dve) and puts the parameters' gradients into `grads`."""
    B, T, C = x.shape
    D = C // shape.n_head
    names = [f"{path}.{name}.weight" for name in ("c_q", "c_k", "c_v", "c_proj", "ve_gate")]
    (q, q_back), (k, k_back), (v, v_back) = (linear(x, p[name]) for name in names[:3])
    (q, q_turn), (k, k_turn) = rotate(q.reshape(B, T, -1, D)), rotate(k.reshape(B, T, -1, D))
    (q, q_norm), (k, k_norm) = norm(q), norm(k)
    v = v.reshape(B, T, -1, D)
    if ve is not None:
        ve = ve.reshape(v.shape)
        z, gate_back = linear(x[..., :GATE], p[names[4]])
        gate = 2 / (1 + np.exp(-z))
        v = v + gate[..., None] * ve
    y, attention_back = attention(q, k, v, window)
    out, proj_back = linear(y.reshape(B, T, -1), p[names[3]])

    def back(dout, grads: Params):
        dy, grads[names[3]] = proj_back(dout)
        dq, dk, dv = attention_back(dy.reshape(y.shape))
        dq, grads[names[0]] = q_back(q_turn(q_norm(dq)).reshape(B, T, -1))
        dk, grads[names[1]] = k_back(k_turn(k_norm(dk)).reshape(B, T, -1))
        dx, grads[names[2]] = v_back(dv.reshape(B, T, -1))
        dx = dx + dq + dk
        if ve is None:
            return dx, None
        dz, grads[names[4]] = gate_back((dv * ve).sum(-1) * gate * (1 - gate / 2))
        dx[..., :GATE] += dz
        return dx, (dv * gate[..., None]).reshape(B, T, -1)

    return out, back


def mlp_layer(x, p: Params, path: str):
    names = f"{path}.c_fc.weight", f"{path}.c_proj.weight"
    hidden, fc_back = linear(x, p[names[0]])
    positive = np.maximum(hidden, 0)
    out, proj_back = linear(positive**2, p[names[1]])

    def back(dout, grads: Params):
        dhidden, grads[names[1]] = proj_back(dout)
        dx, grads[names[0]] = fc_back(2 * positive * dhidden)
        return dx

    return out, back


def bigrams(idx, rows):
    """Return the table row of each token and the one before it, which is token 0 for the first position."""
    before = np.concatenate([np.zeros_like(idx[:, :1]), idx[:, :-1]], axis=1)
    return (36313 * before.astype(np.int64) + idx) % rows


# --- model ------------------------------------------------------------------------------------------------------------


def model(params: Params, idx: np.ndarray, shape: Shape):
    """Return the logits (B, T, V) of tokens (B, T), and a function from their gradient to the parameters' gradients."""
    x, pairs = params["wte.weight"][idx], None
    if "bigrams.weight" in params:
        pairs = bigrams(idx, len(params["bigrams.weight"]))
        x = x + params["bigrams.weight"][pairs]
    x0, embed_norm = norm(x)
    x, layers = x0, []
    for i in range(shape.n_layer):
        entry = x
        resid_lambda, x0_lambda = params["resid_lambdas"][i], params["x0_lambdas"][i]
        x = resid_lambda * x + x0_lambda * x0
        table = f"value_embeds.l{i}.weight"
        ve = params[table][idx] if shape.has_value_embed(i) else None
        y, attn_norm = norm(x)
        y, attn_back = attention_layer(y, ve, params, f"h.{i}.attn", shape, shape.window(i))
        x = x + y
        y, mlp_norm = norm(x)
        y, mlp_back = mlp_layer(y, params, f"h.{i}.mlp")
        x = x + y
        layers.append((i, entry, resid_lambda, x0_lambda, table, attn_norm, attn_back, mlp_norm, mlp_back))
    y, head_norm = norm(x)
    y, head_back = linear(y, params["lm_head.weight"])
    capped = np.tanh(y / SOFTCAP)

    def back(dlogits):
        grads = {"resid_lambdas": np.zeros(shape.n_layer), "x0_lambdas": np.zeros(shape.n_layer)}
        dy, grads["lm_head.weight"] = head_back(dlogits * (1 - capped**2))
        dx, dx0 = head_norm(dy), np.zeros_like(x0)
        for i, entry, resid_lambda, x0_lambda, table, attn_norm, attn_back, mlp_norm, mlp_back in reversed(layers):
            dx = dx + mlp_norm(mlp_back(dx, grads))
            dy, dve = attn_back(dx, grads)
            dx = dx + attn_norm(dy)
            if dve is not None:
                grads[table] = scatter(dve, idx, params[table])
            grads["resid_lambdas"][i], grads["x0_lambdas"][i] = (dx * entry).sum(), (dx * x0).sum()
            dx, dx0 = dx * resid_lambda, dx0 + dx * x0_lambda
        dx = embed_norm(dx + dx0)
        grads["wte.weight"] = scatter(dx, idx, params["wte.weight"])
        if pairs is not None:
            grads["bigrams.weight"] = scatter(dx, pairs, params["bigrams.weight"])
        return grads

    return SOFTCAP * capped, back


def scatter(dy, idx, table):
    gradient = np.zeros_like(table)
    np.add.at(gradient, idx, dy)
    return gradient


def loss_and_gradients(params: Params, idx: np.ndarray, targets: np.ndarray, shape: Shape):
    """Return the mean cross-entropy in nats per token, and its gradients by parameter name."""
    logits, back = model(params, idx, shape)
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    target = np.eye(logits.shape[-1])[targets]
    return -(log_p * target).sum(-1).mean(), back((np.exp(log_p) - target) / targets.size)


# --- optimizer --------------------------------------------------------------------------------------------------------

COEFFICIENTS = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]


@dataclass(frozen=True)
class Hyper:
    """Scheduled numbers of one step: learning rates as a share of their peak, Muon's momentum and decay."""

    lr: float
    momentum: float
    decay: float


def schedule(progress: float, step: int) -> Hyper:
    """Return the numbers of a step.

    The rate is constant, then linear to 0 over the last half. Momentum rises from 0.85 to 0.95 over 300 steps. The
    decay is 0.2 (1 - progress).
    """
    share = min(step / 300, 1)
    return Hyper(min(1.0, (1 - progress) / 0.5), 0.85 * (1 - share) + 0.95 * share, 0.2 * (1 - progress))


def adam_rule(name: str, width: int) -> tuple[float, float, float]:
    """Return learning rate and betas of a parameter outside the layers."""
    scale = (width / 768) ** -0.5
    if name == "x0_lambdas":
        return 0.5, 0.96, 0.95
    return {"lm_head.weight": 0.004 * scale, "resid_lambdas": 0.005}.get(name, 0.6 * scale), 0.8, 0.95


class Optimizer:
    """Muon with NorMuon and cautious decay for matrices in the layers, AdamW for the rest; one matrix at a time."""

    def __init__(self, params: Params) -> None:
        self.width = params["wte.weight"].shape[1]
        self.steps = 0
        self.first = {name: np.zeros_like(p) for name, p in params.items()}
        self.second = {name: np.zeros_like(p) for name, p in params.items()}
        for name in filter(is_layer_matrix, params):
            rows, cols = params[name].shape
            self.second[name] = np.zeros((rows, 1) if rows >= cols else (1, cols))

    def step(self, params: Params, grads: Params, hyper: Hyper) -> Params:
        self.steps += 1
        rules = {True: self.muon, False: self.adamw}
        return {name: rules[is_layer_matrix(name)](name, p, grads[name], hyper) for name, p in params.items()}

    def adamw(self, name, p, g, hyper: Hyper):
        lr, beta1, beta2 = adam_rule(name, self.width)
        m = self.first[name] = beta1 * self.first[name] + (1 - beta1) * g
        v = self.second[name] = beta2 * self.second[name] + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**self.steps), v / (1 - beta2**self.steps)
        return p - hyper.lr * lr * m_hat / (np.sqrt(v_hat) + 1e-10)

    def muon(self, name, p, g, hyper: Hyper):
        rows, cols = p.shape
        lr = hyper.lr * 0.04 * np.sqrt(max(1, rows / cols))
        buffer = self.first[name] = hyper.momentum * self.first[name] + (1 - hyper.momentum) * g
        g = (1 - hyper.momentum) * g + hyper.momentum * buffer
        g = polar_express(g)
        mean_square = (g * g).mean(1 if rows >= cols else 0, keepdims=True)
        self.second[name] = 0.95 * self.second[name] + 0.05 * mean_square
        scaled = g / np.sqrt(np.maximum(self.second[name], 1e-10))
        g = scaled * (np.linalg.norm(g) / max(np.linalg.norm(scaled), 1e-10))
        return p - lr * g - lr * hyper.decay * p * (g * p >= 0)


def is_layer_matrix(name: str) -> bool:
    return name.startswith("h.")


def polar_express(g):
    X = g / (1.02 * np.linalg.norm(g) + 1e-6)
    for a, b, c in COEFFICIENTS:
        if X.shape[0] > X.shape[1]:
            A = X.T @ X
            X = a * X + X @ (b * A + c * A @ A)
        else:
            A = X @ X.T
            X = a * X + (b * A + c * A @ A) @ X
    return X


def slope(params: Params, name: str, direction: np.ndarray, idx, targets, shape: Shape) -> float:
    """Return the derivative of the loss along `direction` of one parameter, by a central difference."""

    def loss(size):
        return loss_and_gradients({**params, name: params[name] + size * direction}, idx, targets, shape)[0]

    return (loss(1e-5) - loss(-1e-5)) / 2e-5
