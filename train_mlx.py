"""Train a GPT. This is the one editable file: everything here may change; prepare.py (data, clock, metric) may not.

From top to bottom: constants, model, optimizer, schedules, and the two functions that the harness calls, build_model
and train. B, T, C, V, H, D are rows, time (tokens), channels, vocabulary, heads and head dimension.
"""

import math
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

import prepare

# --- constants: experiments change these ----------------------------

# Size
DEPTH = 4  # layers
ASPECT_RATIO = 64  # width / DEPTH: C = DEPTH * ASPECT_RATIO, rounded up to a multiple of HEAD_DIM
HEAD_DIM = 128  # channels per head; 64, 72, 80, 96, 128, 192, 256 have fast attention on a GPU
HEADS_PER_KV = 1  # query heads per key/value head; lowered to a divisor of the heads
MLP_RATIO = 4  # hidden units of the MLP / C
WINDOW_PATTERN = "L"  # tiled over the layers: L sees the whole context, S a window; the last is always L
SHORT_WINDOW = 0.5  # S's window, as a share of the context
BIGRAM_ROWS = 0  # times V: rows of a table for hashed pairs of tokens; 0: no table
VALUE_EMBED_EVERY = 2  # every n-th layer, counted from the last, has a value embedding; 0: no layer
LOGIT_SOFTCAP = 15.0  # a tanh keeps logits within +-this
ROPE_BASE = 10000.0

# Initialisation
EMBED_INIT_STD = 1.0
HEAD_INIT_STD = 0.001
MATRIX_INIT_SCALE = 1.0  # times uniform +-sqrt(3 / C)
RESID_LAMBDA_INIT = 1.0  # weight of the residual stream at a layer's entry
X0_LAMBDA_INIT = 0.1  # weight of the token embedding there

# Batch
TOTAL_BATCH_SIZE = 2**14  # tokens per step, rounded to whole rows
DEVICE_BATCH_SIZE = 8  # most rows at once (per core, on a CPU); gradients accumulate over the rest
TRAIN_ROW_PIECES = 1  # each training row is cut into this many: cheaper attention, less context

# Optimizer: Muon for the layers' matrices, AdamW for the rest
MATRIX_LR = 0.04  # Muon; times max(1, rows / cols)**0.5
EMBEDDING_LR = 0.6  # token, bigram, value embeddings; times (C / 768)**-0.5
UNEMBEDDING_LR = 0.004  # lm_head; times (C / 768)**-0.5
SCALAR_LR = 0.5  # x0_lambdas; a hundredth of it for resid_lambdas
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)
ADAM_EPS = 1e-10
WEIGHT_DECAY = 0.2  # Muon's at the start, falling linearly to 0
MUON_MOMENTUM_START = 0.85
MUON_MOMENTUM = 0.95
MUON_MOMENTUM_STEPS = 300  # steps from the first momentum to the second
MUON_BETA2 = 0.95  # decay of NorMuon's second moment
NS_STEPS = 5  # Polar Express iterations, 1 to 5

# Learning rate over progress = used time / budget
WARMUP_RATIO = 0.0  # linear from 0 over this first share
WARMDOWN_RATIO = 0.5  # linear to FINAL_LR_FRAC over this last share
FINAL_LR_FRAC = 0.0

# Machine
COMPUTE_DTYPE = "bfloat16"  # or "float32", which CPUs always use; parameters are always float32
LOSS_CHUNK = 2**24  # bytes of logits at once in training, on a GPU
STACK_MATRICES = True  # Muon on all matrices of one shape at once, to fill a GPU
QUERY_BLOCK = 128  # queries at once, on a GPU four times, without fused attention: windows, CPUs, float32 on CUDA

# --- model ----------------------------------------------------------

GATE_CHANNELS = 32  # channels that a value-embedding gate reads


@dataclass(frozen=True)
class GPTConfig:
    sequence_len: int  # evaluation context, tokens
    vocab_size: int
    n_layer: int
    n_head: int
    n_kv_head: int
    n_embd: int  # C
    window_pattern: str = "L"
    dtype: mx.Dtype = mx.float32  # of the computation

    def __post_init__(self):
        if self.n_embd % self.n_head or self.n_embd // self.n_head % 2:
            raise ValueError(f"{self.n_embd} channels do not make {self.n_head} heads of one even size")
        if not self.window_pattern or set(self.window_pattern) - {"L", "S"}:
            raise ValueError(f"WINDOW_PATTERN must be made of L and S, not {self.window_pattern!r}")

    @property
    def windows(self) -> list[int]:
        """The window w of each layer: position i sees j where 0 <= i - j <= w."""
        size = {"L": self.sequence_len, "S": max(1, int(self.sequence_len * min(1, SHORT_WINDOW)))}
        pattern = (self.window_pattern * self.n_layer)[: self.n_layer - 1] + "L"
        return [size[kind] for kind in pattern]

    def has_value_embed(self, layer: int) -> bool:
        return VALUE_EMBED_EVERY > 0 and (self.n_layer - 1 - layer) % VALUE_EMBED_EVERY == 0


def norm(x):
    return mx.fast.rms_norm(x, None, 1e-6)


def rotate(x):
    """Apply the rotary embedding to (B, H, T, D), split halves: y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos."""
    return mx.fast.rope(x, x.shape[-1], traditional=False, base=ROPE_BASE, scale=-1.0, offset=0)


def uniform(shape, bound):
    return mx.random.uniform(-bound, bound, shape)


class Linear(nn.Module):
    """Product x @ W.T; W (out, in) is float32 and cast at use."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def __call__(self, x):
        return x @ self.weight.astype(x.dtype).T


class Embedding(nn.Module):
    """Rows of a table (V, n), cast after the lookup, so that gradients are summed in float32."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def __call__(self, idx, dtype):
        return self.weight[idx].astype(dtype)


def on_gpu():
    return mx.default_device() == mx.gpu


def attend_last(q, k, v, window):
    """Attend from the last n of m positions, 0 <= i - j <= window: q (B, H, n, D), k and v (B, H_kv, m, D)."""
    n, m = q.shape[2], k.shape[2]
    mask = "causal"
    if m - 1 > window:
        distance = mx.arange(m - n, m)[:, None] - mx.arange(m)
        mask = (distance >= 0) & (distance <= window)
    return prepare.attention(q, k, v, mask)


def attend(q, k, v, window):
    """Attend from all T positions, for long rows in memory linear in T."""
    T, block = q.shape[2], QUERY_BLOCK * (4 if on_gpu() else 1)
    if 2 * block >= T or (window >= T - 1 and prepare.has_fused_attention(q)):
        return attend_last(q, k, v, window)
    return prepare.attend_in_blocks(attend_last, q, k, v, window, block)


class Attention(nn.Module):
    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        C, H, H_kv = config.n_embd, config.n_head, config.n_kv_head
        D, bound = C // H, MATRIX_INIT_SCALE * math.sqrt(3 / C)
        self.n_head, self.n_kv_head, self.head_dim, self.window = H, H_kv, D, config.windows[layer]
        self.c_q = Linear(uniform((H * D, C), bound))
        self.c_k = Linear(uniform((H_kv * D, C), bound))
        self.c_v = Linear(uniform((H_kv * D, C), bound))
        self.c_proj = Linear(mx.zeros((C, H * D)))
        if config.has_value_embed(layer):
            self.ve_gate = Linear(mx.zeros((H_kv, min(C, GATE_CHANNELS))))

    def __call__(self, x, ve):
        B, T, _ = x.shape
        # One product and one rotation for all heads, which fill a GPU better.
        weights = mx.concatenate([self.c_q.weight, self.c_k.weight, self.c_v.weight])
        heads = (x @ weights.astype(x.dtype).T).reshape(B, T, -1, self.head_dim)  # (B, T, H + 2 H_kv, D)
        qk, v = mx.split(heads, [self.n_head + self.n_kv_head], axis=2)
        if ve is not None:
            gate = 2 * mx.sigmoid(self.ve_gate(x[..., :GATE_CHANNELS]))  # (B, T, H_kv)
            v = v + gate[..., None] * ve.reshape(v.shape)
        q, k = mx.split(norm(rotate(qk.transpose(0, 2, 1, 3))), [self.n_head], axis=1)  # (B, H or H_kv, T, D)
        y = attend(q, k, v.transpose(0, 2, 1, 3), self.window)
        return self.c_proj(y.transpose(0, 2, 1, 3).reshape(B, T, -1))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        C, hidden = config.n_embd, round(MLP_RATIO * config.n_embd)
        self.c_fc = Linear(uniform((hidden, C), MATRIX_INIT_SCALE * math.sqrt(3 / C)))
        self.c_proj = Linear(mx.zeros((C, hidden)))

    def __call__(self, x):
        return self.c_proj(prepare.relu_squared(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = MLP(config)

    def __call__(self, x, x0, resid_lambda, x0_lambda, ve):
        # The lambdas are float32; the cast keeps the residual stream in the compute type.
        x = (resid_lambda * x + x0_lambda * x0).astype(x0.dtype)
        x = x + self.attn(norm(x), ve)
        return x + self.mlp(norm(x))


def head(x, weight):
    """Map (B, T, C) to logits (B, T, V) in float32."""
    logits = x @ weight.astype(x.dtype).T
    return prepare.soft_cap(logits, LOGIT_SOFTCAP)


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        C, V, L = config.n_embd, config.vocab_size, config.n_layer
        kv_channels = config.n_kv_head * (C // config.n_head)
        self.config = config
        self.wte = Embedding(EMBED_INIT_STD * mx.random.normal((V, C)))
        self.bigrams = Embedding(mx.zeros((BIGRAM_ROWS * V, C))) if BIGRAM_ROWS else None
        self.h = [Block(config, i) for i in range(L)]
        self.lm_head = Linear(HEAD_INIT_STD * mx.random.normal((V, C)))
        self.resid_lambdas = mx.full((L,), RESID_LAMBDA_INIT)
        self.x0_lambdas = mx.full((L,), X0_LAMBDA_INIT)
        # "l3", not "3": MLX turns dictionaries keyed by digits into lists.
        self.value_embeds = {
            f"l{i}": Embedding(uniform((V, kv_channels), MATRIX_INIT_SCALE * math.sqrt(3 / C)))
            for i in range(L)
            if config.has_value_embed(i)
        }

    def features(self, idx):
        """Map tokens (B, T) to the head's input (B, T, C)."""
        dtype = self.config.dtype
        x = self.wte(idx, dtype)  # (B, T, C)
        if self.bigrams is not None:
            before = mx.pad(idx[:, :-1], [(0, 0), (1, 0)])
            x = x + self.bigrams((36313 * before + idx) % len(self.bigrams.weight), dtype)
        x = x0 = norm(x)
        resid_lambdas, x0_lambdas = (mx.split(p, len(self.h)) for p in (self.resid_lambdas, self.x0_lambdas))
        for i, block in enumerate(self.h):
            table = self.value_embeds.get(f"l{i}")
            x = block(x, x0, resid_lambdas[i], x0_lambdas[i], None if table is None else table(idx, dtype))
        return norm(x)

    def __call__(self, idx):
        """Map tokens (B, T) to logits (B, T, V) in float32."""
        return head(self.features(idx), self.lm_head.weight)

    def loss(self, idx, targets):
        """Return the mean nats per token, computed without all logits at once."""
        return prepare.chunked_cross_entropy(head, self.features(idx), self.lm_head.weight, targets, LOSS_CHUNK)

    def flops_per_token(self) -> float:
        """Count those of training: 6 per matrix weight, and 12 C per visible position of each layer."""
        matrices = sum(p.size for path, p in tree_flatten(self.parameters()) if is_matrix(path, p))
        return 6 * (matrices + self.lm_head.weight.size) + 12 * self.config.n_embd * sum(self.config.windows)


# --- optimizer ------------------------------------------------------

# Polar Express: coefficients of the steps that bring singular values to 1 (arXiv:2505.16932).
POLAR_EXPRESS = (
    (8.15655452, -22.4832929, 15.8787699),
    (4.04292994, -2.80891747, 0.500017845),
    (3.8916678, -2.77248415, 0.506064818),
    (3.28575366, -2.36812949, 0.464490242),
    (2.34654133, -1.70978284, 0.423235512),
)


def is_matrix(path: str, p: mx.array) -> bool:
    return path.startswith("h.") and p.ndim == 2


def frobenius(x):
    return mx.sqrt(mx.square(x).sum(axis=(-2, -1), keepdims=True))


def orthogonalize(X, steps):
    """Map (n, rows, cols) to the nearest matrices with all singular values about 1."""
    X = X / (1.02 * frobenius(X) + 1e-6)
    tall = X.shape[-2] > X.shape[-1]
    for a, b, c in POLAR_EXPRESS[:steps]:
        A = X.swapaxes(-1, -2) @ X if tall else X @ X.swapaxes(-1, -2)  # the smaller of the two Gram matrices
        B = mx.addmm(A, A, A, alpha=c, beta=b)
        X = mx.addmm(X, X, B, beta=a) if tall else mx.addmm(X, B, X, beta=a)
    return X


def normuon(X, second, beta2):
    """Divide rows (columns, where wide) by their running root mean square and keep the norm (NorMuon)."""
    mean_square = mx.square(X).mean(axis=-1 if X.shape[-2] >= X.shape[-1] else -2, keepdims=True)
    second = second + (1 - beta2) * (mean_square - second)
    scaled = X * mx.rsqrt(mx.maximum(second, 1e-10))
    return scaled * (frobenius(X) / mx.maximum(frobenius(scaled), 1e-10)), second


class MuonAdamW:
    """Muon for the layers' matrices, AdamW for the rest. `state` holds only arrays, also for the step count: a compiled
    step would keep a Python number at its first value."""

    def __init__(self, model: GPT):
        width_scale = (model.config.n_embd / 768) ** -0.5
        tables = (EMBEDDING_LR * width_scale, ADAM_BETAS)
        rules = {  # learning rate and betas of the rest; tables are the embeddings
            "lm_head": (UNEMBEDDING_LR * width_scale, ADAM_BETAS),
            "resid_lambdas": (SCALAR_LR * 0.01, ADAM_BETAS),
            "x0_lambdas": (SCALAR_LR, X0_BETAS),
        }
        self.adam = {}  # path -> (learning rate, betas)
        self.muon = {}  # stack -> paths of its matrices, all of one shape
        for path, p in tree_flatten(model.parameters()):
            if is_matrix(path, p):
                self.muon.setdefault(f"{p.shape}" if STACK_MATRICES else path, []).append(path)
            else:
                self.adam[path] = rules.get(path.split(".")[0], tables)
        self.state = {}
        self.reset(model)

    def reset(self, model: GPT):
        """Forget every step, in place: the compiled step keeps a reference to `state`."""
        params = dict(tree_flatten(model.parameters()))
        self.state["step"] = mx.array(0.0)
        self.state["adam"] = {path: [mx.zeros_like(params[path]), mx.zeros_like(params[path])] for path in self.adam}
        self.state["muon"] = {}
        for name, paths in self.muon.items():
            n, (rows, cols) = len(paths), params[paths[0]].shape
            second = (n, rows, 1) if rows >= cols else (n, 1, cols)
            self.state["muon"][name] = [mx.zeros((n, rows, cols)), mx.zeros(second)]

    def update(self, model: GPT, gradients: dict, hyper: mx.array):
        """Make one step; `hyper` is what hyperparameters() returns."""
        lr_scale, momentum, decay = hyper
        self.state["step"] = self.state["step"] + 1
        params, gradients = dict(tree_flatten(model.parameters())), dict(tree_flatten(gradients))

        def adamw(path):
            lr, betas = self.adam[path]
            return self.adamw(path, params[path], gradients[path], lr_scale * lr, betas)

        def muon(name):
            p, g = (mx.stack([tree[path] for path in self.muon[name]]) for tree in (params, gradients))
            lr = lr_scale * (MATRIX_LR * max(1, p.shape[-2] / p.shape[-1]) ** 0.5)
            return list(self.muon_step(name, p, g, lr, momentum, decay))

        params.update(zip(self.adam, prepare.parallel(adamw, self.adam), strict=True))
        for paths, matrices in zip(self.muon.values(), prepare.parallel(muon, self.muon), strict=True):
            params.update(zip(paths, matrices, strict=True))
        model.update(tree_unflatten(list(params.items())))

    def adamw(self, path, p, g, lr, betas):
        m, v = self.state["adam"][path]
        m = m + (1 - betas[0]) * (g - m)
        v = v + (1 - betas[1]) * (mx.square(g) - v)
        self.state["adam"][path] = [m, v]
        step = self.state["step"]
        scale = mx.sqrt(1 - betas[1] ** step)
        return p - lr * scale / (1 - betas[0] ** step) * m / (mx.sqrt(v) + ADAM_EPS * scale)

    def muon_step(self, name, p, g, lr, momentum, decay):
        buffer, second = self.state["muon"][name]
        buffer = buffer + (1 - momentum) * (g - buffer)
        g = g + momentum * (buffer - g)  # Nesterov
        g, second = normuon(orthogonalize(g, NS_STEPS), second, MUON_BETA2)
        self.state["muon"][name] = [buffer, second]
        return p - lr * g - lr * decay * p * (g * p >= 0)  # cautious: decay only where the step shrinks p as well


# --- schedules ------------------------------------------------------


def lr_scale(progress: float) -> float:
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress <= 1 - WARMDOWN_RATIO:
        return 1.0
    left = max(0.0, 1 - progress) / WARMDOWN_RATIO
    return left + (1 - left) * FINAL_LR_FRAC


def muon_momentum(step: int) -> float:
    share = min(1.0, step / MUON_MOMENTUM_STEPS) if MUON_MOMENTUM_STEPS else 1.0
    return (1 - share) * MUON_MOMENTUM_START + share * MUON_MOMENTUM


def hyperparameters(progress: float, step: int) -> mx.array:
    """Return learning-rate scale, momentum and decay as an array: Python floats would recompile each step."""
    return mx.array([lr_scale(progress), muon_momentum(step), WEIGHT_DECAY * (1 - progress)])


# --- what the harness calls -----------------------------------------


def build_model(task: prepare.Task) -> GPT:
    if min(DEPTH, ASPECT_RATIO, HEAD_DIM, HEADS_PER_KV, TOTAL_BATCH_SIZE, DEVICE_BATCH_SIZE, TRAIN_ROW_PIECES) < 1:
        size = f"{DEPTH=}, {ASPECT_RATIO=}, {HEAD_DIM=}, {HEADS_PER_KV=}"
        raise ValueError(f"{size}, {TOTAL_BATCH_SIZE=}, {DEVICE_BATCH_SIZE=}, {TRAIN_ROW_PIECES=} must be positive")
    if COMPUTE_DTYPE not in ("bfloat16", "float32"):
        raise ValueError(f"{COMPUTE_DTYPE=} must be bfloat16 or float32")
    n_head = math.ceil(DEPTH * ASPECT_RATIO / HEAD_DIM)
    config = GPTConfig(
        sequence_len=task.seq_len,
        vocab_size=task.vocab_size,
        n_layer=DEPTH,
        n_head=n_head,
        n_kv_head=n_head // math.gcd(n_head, HEADS_PER_KV),
        n_embd=n_head * HEAD_DIM,
        window_pattern=WINDOW_PATTERN,
        dtype=mx.bfloat16 if on_gpu() and COMPUTE_DTYPE == "bfloat16" else mx.float32,
    )
    return GPT(config)


def batch_shape(seq_len: int) -> tuple[int, int]:
    """Return rows at once and micro-batches a step: 4096 tokens, at most 16 rows of 128 -> (16, 2)."""
    rows = max(1, round(TOTAL_BATCH_SIZE / seq_len))
    cores = prepare.even_streams(rows)
    micro_batches = cores * math.ceil(rows / cores / DEVICE_BATCH_SIZE)
    return round(rows / micro_batches), micro_batches


def compiled_step(model: GPT, optimizer: MuonAdamW):
    """Return a step as one compiled graph: ([(x, y), ...] micro-batches, hyper) -> mean loss."""
    state = [model.state, optimizer.state]
    loss_and_grad = nn.value_and_grad(model, lambda x, y, parts: model.loss(x, y) / parts)

    def accumulate(batches, parts):
        total = loss_and_grad(*batches[0], parts)
        for x, y in batches[1:]:
            # Wait for the gradients so far, so that only one micro-batch's activations are in memory.
            x = mx.depends(x, [g for _, g in tree_flatten(total[1])])
            total = tree_map(mx.add, total, loss_and_grad(x, y, parts))
        return total

    @partial(mx.compile, inputs=state, outputs=state)
    def step(batches, hyper):
        parts, cores = len(batches), prepare.even_streams(len(batches))
        totals = prepare.parallel(partial(accumulate, parts=parts), [batches[i::cores] for i in range(cores)])
        loss, gradients = tree_map(lambda first, *rest: sum(rest, first), *totals)
        optimizer.update(model, gradients, hyper)
        return loss

    return step


def warm_up(step, model, optimizer, run, rows, seq_len, micro_batches):
    """Compile everything by steps on random tokens before the clock (a GPU traces twice), then undo them."""
    initial = model.parameters()
    for _ in range(2 if on_gpu() else 1):
        batches = [run.warmup_batch(rows, seq_len)] * micro_batches
        mx.eval(step(batches, hyperparameters(0.0, 0)), model.state, optimizer.state)
    model.update(initial)
    optimizer.reset(model)
    mx.eval(model.state, optimizer.state)


def train(model: GPT, run: prepare.Run) -> None:
    seq_len = max(1, run.task.seq_len // TRAIN_ROW_PIECES)
    rows, micro_batches = batch_shape(seq_len)
    optimizer = MuonAdamW(model)
    train_step = compiled_step(model, optimizer)
    warm_up(train_step, model, optimizer, run, rows, seq_len, micro_batches)

    stream = iter(run.batches(rows, seq_len))
    previous = None
    for step, batches in enumerate(zip(*[stream] * micro_batches, strict=False)):
        loss = train_step(batches, hyperparameters(run.progress, step))  # builds the graph while the last step runs
        # Wait for that step before this one is queued: two at once would hold twice the activations.
        if previous is not None:
            run.log(step - 1, previous)
        mx.async_eval(loss, model.state, optimizer.state)
        previous = loss
    if previous is not None:
        run.log(step, previous)


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
