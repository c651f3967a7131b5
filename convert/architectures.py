"""The one table of known model families: their tensors' names, what is permuted, and their hyperparameters.

A new family is one more `Architecture` in `KNOWN`. Names on the GGUF side are llama.cpp's
(src/llama-arch.cpp), names on the checkpoint side are transformers'.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.gguf_file import Gguf, Value, f32, string, u32

ROPE_FACTORS = "rope_freqs.weight"
_MAX_LAYERS = 10_000


@dataclass(frozen=True)
class Architecture:
    """A model family.

    Attributes:
        checkpoint_class: the entry of `architectures` in config.json.
        gguf_name: `general.architecture`.
        tensors: checkpoint name -> GGUF name; `{}` stands for the layer's number.
        permuted: GGUF names of the tensors whose rows are in another order there -> the hyperparameter that
            says how many heads they have.
        ignored: patterns of checkpoint tensors that hold no weights (buffers).
        hyperparameters: config.json -> GGUF metadata; refuses what it can't express.
        config: GGUF -> config.json.
        computed: config.json -> tensors that GGUF wants and checkpoints compute (float32).
        shapes: config.json -> every tensor that a model has, by GGUF name, with its shape.
    """

    checkpoint_class: str
    gguf_name: str
    tensors: Mapping[str, str]
    permuted: Mapping[str, str]
    ignored: tuple[str, ...]
    hyperparameters: Callable[[Mapping[str, Any]], dict[str, Value]]
    config: Callable[[Gguf], dict[str, Any]]
    computed: Callable[[Mapping[str, Any]], dict[str, npt.NDArray[np.float32]]]
    shapes: Callable[[Mapping[str, Any]], dict[str, tuple[int, ...]]]

    def to_gguf(self, name: str) -> str | None:
        """The GGUF name of a checkpoint's tensor; None if it has no place there."""
        return _translate(name, self.tensors)

    def to_checkpoint(self, name: str) -> str | None:
        """The checkpoint's name of a GGUF tensor; None if it has no place there."""
        return _translate(name, {theirs: ours for ours, theirs in self.tensors.items()})

    def heads_of(self, gguf_name: str) -> str | None:
        """The hyperparameter with the number of heads of a permuted tensor; None if it isn't permuted."""
        generic = re.sub(r"\d+", "{}", gguf_name, count=1) if gguf_name.startswith("blk.") else gguf_name
        return self.permuted.get(generic)

    def is_ignored(self, name: str) -> bool:
        """Whether a checkpoint's tensor holds no weights."""
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)


def _translate(name: str, table: Mapping[str, str]) -> str | None:
    direct = table.get(name)
    if direct is not None:
        return direct
    layer = re.search(r"\.(0|[1-9]\d{0,5})\.", name)
    if layer is None:
        return None
    generic = table.get(f"{name[: layer.start(1)]}{{}}{name[layer.end(1) :]}")
    return None if generic is None else generic.format(layer.group(1))


def permutation(rows: int, heads: int) -> npt.NDArray[np.intp]:
    """Where each row of a GGUF query or key matrix comes from in the checkpoint's.

    transformers rotates a head's first half against its second; llama.cpp rotates neighbours, so that rows of
    the two halves alternate there.
    """
    if heads <= 0 or rows % (2 * heads):
        raise ConvertError(f"{rows} rows can't be {heads} heads of even width")
    return np.arange(rows, dtype=np.intp).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(-1)


def whole(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A positive whole number of config.json.

    Raises:
        ConvertError: missing or something else.
    """
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**32:
        raise ConvertError(f"config.json: {key} is {value!r}", "it must be a positive whole number")
    return value


def _real(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ConvertError(f"config.json: {key} is {value!r}", "it must be a positive number")
    return float(value)


def _rope(config: Mapping[str, Any]) -> tuple[float, str, Mapping[str, Any]]:
    """Base frequency, type and parameters, spelt `rope_parameters` or `rope_theta` + `rope_scaling`."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(parameters, Mapping):
        raise ConvertError(f"config.json: rope_parameters is {parameters!r}", "it must be an object")
    theta = _real({**config, **parameters}, "rope_theta", 10000.0)
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    return theta, str(kind), parameters


def _head_width(config: Mapping[str, Any]) -> int:
    hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    if config.get("head_dim") is None and hidden % heads:
        raise ConvertError(f"config.json: hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    return whole(config, "head_dim", hidden // heads)


def _llama_hyperparameters(config: Mapping[str, Any]) -> dict[str, Value]:
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise ConvertError(
            f"config.json: hidden_act {activation!r} has no place in a Llama GGUF", "it must be silu"
        )
    heads, hidden, width = (
        whole(config, "num_attention_heads"),
        whole(config, "hidden_size"),
        _head_width(config),
    )
    key_heads = whole(config, "num_key_value_heads", heads)
    if heads % key_heads:
        raise ConvertError(f"config.json: {heads} query heads can't share {key_heads} key heads")
    theta, rope, parameters = _rope(config)
    keys = {
        "llama.block_count": u32(whole(config, "num_hidden_layers")),
        "llama.context_length": u32(whole(config, "max_position_embeddings", 2048)),
        "llama.embedding_length": u32(hidden),
        "llama.feed_forward_length": u32(whole(config, "intermediate_size")),
        "llama.attention.head_count": u32(heads),
        "llama.attention.head_count_kv": u32(key_heads),
        "llama.rope.freq_base": f32(theta),
        "llama.attention.layer_norm_rms_epsilon": f32(_real(config, "rms_norm_eps", 1e-6)),
        "llama.vocab_size": u32(whole(config, "vocab_size")),
        "llama.rope.dimension_count": u32(width),
    }
    if width * heads != hidden:
        keys |= {"llama.attention.key_length": u32(width), "llama.attention.value_length": u32(width)}
    if rope == "linear":
        keys["llama.rope.scaling.type"] = string("linear")
        keys["llama.rope.scaling.factor"] = f32(_real(parameters, "factor"))
    elif rope not in {"default", "llama3"}:  # llama3's factors are a tensor, see _llama_factors
        hint = "default, linear and llama3 are known; anchorhold can't convert this model"
        raise ConvertError(f"config.json: rope type {rope!r} is not known", hint)
    return keys


def _llama_factors(config: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """Llama 3.1's long-context factors by which llama.cpp divides each rotary frequency."""
    theta, rope, parameters = _rope(config)
    if rope != "llama3":
        return {}
    width = _head_width(config)
    factor, low, high = (_real(parameters, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    context = whole(parameters, "original_max_position_embeddings")
    if high <= low:
        raise ConvertError("config.json: high_freq_factor must be above low_freq_factor")
    wavelength = 2 * math.pi * theta ** (np.arange(0, width, 2, dtype=np.float64) / width)
    smooth = np.clip((context / wavelength - low) / (high - low), 0.0, 1.0)
    return {ROPE_FACTORS: (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)}


def _llama_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner = whole(config, "hidden_size"), whole(config, "intermediate_size")
    heads, width = whole(config, "num_attention_heads"), _head_width(config)
    queries, keys = heads * width, whole(config, "num_key_value_heads", heads) * width
    matrices = {
        "attn_q": (queries, hidden),
        "attn_k": (keys, hidden),
        "attn_v": (keys, hidden),
        "attn_output": (hidden, queries),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    layer: dict[str, tuple[int, ...]] = {"attn_norm.weight": (hidden,), "ffn_norm.weight": (hidden,)}
    for name, shape in matrices.items():
        layer[f"{name}.weight"] = shape
        if config.get("attention_bias" if name.startswith("attn") else "mlp_bias"):
            layer[f"{name}.bias"] = shape[:1]
    vocabulary = (whole(config, "vocab_size"), hidden)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": vocabulary}
    for number in range(min(whole(config, "num_hidden_layers"), _MAX_LAYERS)):
        shapes |= {f"blk.{number}.{name}": shape for name, shape in layer.items()}
    shapes["output_norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings", False):
        shapes["output.weight"] = vocabulary
    return shapes


def check_tensors(
    where: str, shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare the tensors that a configuration calls for with those that are there.

    Args:
        where: what to name in an error.
        shapes: what is due, by name.
        found: what is there, by name.

    Raises:
        ConvertError: one is missing, has another shape, or has no place.
    """
    for name, shape in shapes.items():
        if name not in found:
            raise ConvertError(f"{where}: tensor {name} is missing", "the model is incomplete: copy it again")
        if found[name] != shape:
            was, due = list(found[name]), list(shape)
            raise ConvertError(f"{where}: tensor {name} has shape {was}, its configuration says {due}")
    strangers = sorted(set(found) - set(shapes))
    if strangers:
        raise ConvertError(f"{where}: tensor {strangers[0]} has no place in this architecture")


def _shortest(value: float) -> float:
    """The decimal a 32-bit float was written from: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _llama_config(gguf: Gguf) -> dict[str, Any]:
    def need(key: str) -> Any:
        value = gguf.get(f"llama.{key}")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 2**32:
            raise ConvertError(
                f"{gguf.path}: llama.{key} is {value!r}", "the file lacks what a Llama model needs"
            )
        return value

    if ROPE_FACTORS in gguf.tensors:
        hint = "use the original Hugging Face folder as the base"
        raise ConvertError(
            f"{gguf.path}: Llama 3.1's rotary factors can't be turned back into a configuration", hint
        )
    if gguf.get("llama.expert_count", 0):
        raise ConvertError(f"{gguf.path}: a mixture of experts is not known", "use a dense model")
    heads, hidden = need("attention.head_count"), need("embedding_length")
    rope: dict[str, Any] = {
        "rope_theta": _shortest(gguf.get("llama.rope.freq_base", 10000.0)),
        "rope_type": "default",
    }
    scaling = gguf.get("llama.rope.scaling.type", "none")
    if scaling == "linear":
        rope |= {"rope_type": "linear", "factor": _shortest(need("rope.scaling.factor"))}
    elif scaling != "none":
        raise ConvertError(f"{gguf.path}: rope scaling {scaling!r} is not known", "none and linear are")
    names = gguf.tensors
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": "blk.0.attn_q.bias" in names,
        "attention_dropout": 0.0,
        "head_dim": gguf.get("llama.attention.key_length", hidden // heads),
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": need("feed_forward_length"),
        "max_position_embeddings": need("context_length"),
        "mlp_bias": "blk.0.ffn_up.bias" in names,
        "num_attention_heads": heads,
        "num_hidden_layers": need("block_count"),
        "num_key_value_heads": gguf.get("llama.attention.head_count_kv", heads),
        "rms_norm_eps": _shortest(need("attention.layer_norm_rms_epsilon")),
        "rope_parameters": rope,
        # Older transformers and most other tools look here.
        "rope_theta": rope["rope_theta"],
        "tie_word_embeddings": "output.weight" not in names,
        "use_cache": True,
    }


_LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.bias": "attn_output.bias",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate_proj.bias": "ffn_gate.bias",
    "mlp.up_proj.bias": "ffn_up.bias",
    "mlp.down_proj.bias": "ffn_down.bias",
}

LLAMA = Architecture(
    checkpoint_class="LlamaForCausalLM",
    gguf_name="llama",
    tensors={
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
        **{f"model.layers.{{}}.{ours}": f"blk.{{}}.{theirs}" for ours, theirs in _LAYER.items()},
    },
    permuted={
        "blk.{}.attn_q.weight": "num_attention_heads",
        "blk.{}.attn_q.bias": "num_attention_heads",
        "blk.{}.attn_k.weight": "num_key_value_heads",
        "blk.{}.attn_k.bias": "num_key_value_heads",
    },
    ignored=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"model\.rotary_emb\.inv_freq"),
    hyperparameters=_llama_hyperparameters,
    config=_llama_config,
    computed=_llama_factors,
    shapes=_llama_shapes,
)

KNOWN: tuple[Architecture, ...] = (LLAMA,)
"""Every family that can be converted."""


def of_config(config: Mapping[str, Any]) -> Architecture:
    """The family of a checkpoint.

    Raises:
        ConvertError: not known; the message names it, the hint those that are.
    """
    given = config.get("architectures")
    name = str(given[0]) if isinstance(given, list) and given else f"model type {config.get('model_type')!r}"
    for known in KNOWN:
        if known.checkpoint_class == name:
            return known
    raise ConvertError(f"config.json: architecture {name} is not known", _known("checkpoint_class"))


def of_gguf(gguf: Gguf) -> Architecture:
    """The family of a GGUF file.

    Raises:
        ConvertError: not known; the message names it, the hint those that are.
    """
    name = gguf.text("general.architecture", "none")
    for known in KNOWN:
        if known.gguf_name == name:
            return known
    raise ConvertError(f"{gguf.path}: architecture {name!r} is not known", _known("gguf_name"))


def _known(attribute: str) -> str:
    return "known: " + ", ".join(str(getattr(each, attribute)) for each in KNOWN)
