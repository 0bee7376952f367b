"""Miniatures of the language models of transformers, made from their default configurations.

A miniature has random weights, a width of 32, and one block of each kind, but at least two blocks.
Every key of the default configuration that means a size is reduced. Few models need other changes.
"""

import dataclasses
import re

import torch
import transformers
from transformers.models.auto import modeling_auto

VOCABULARY = 400
#: Keys that contain a number of blocks, as a regular expression for the whole key.
BLOCKS = (
    r"(num_|n_)?(hidden_|encoder_|decoder_)*(layers?|blocks)|depth"
    r"|num_layers_per_stack|num_self_attends_per_block"
)
KEY_HEADS = r"(.*_)?(num|n)_(key_value|kv)_heads|kv_n_heads"
#: Maximum values of other integers, by regular expressions for the whole key. The first expression
#: that matches a key applies. If no expression matches, the integer is kept.
SIZES = {
    r"num_kv_shared_layers": 0,
    r"first_k_dense_replace|num_dense_layers|topk_group": 1,
    r"n_groups?|num_expert_group|(encoder|decoder)_sparse_step": 2,
    r"num_experts_per_tok(en)?|moe_top_?k|moe_k": 2,
    r"(n|num|moe_num)_(routed_|local_)?experts|zero_expert_num": 4,
    r"(.*_)?mamba_(num_|n_)?heads": 8,
    r"(.*_)?((num|n)_.*heads?|n_heads?|attention_heads|num_heads)|num_query_groups": 4,
    r"qk_head_dim": 16,
    r".*head_?dim|kv_channels|d_kv|.*d_head|attention_head_size|rotary_dim": 8,
    r".*_rank|.*state_size|mamba_d_state|hc_lowrank": 8,
    r"(sliding_|attention_)?window(_size)?|local_attention|attention_chunk_size|index_topk": 8,
    r"chunk_size|split_ngram_parts": 8,
    r".*hidden_size(_global|_per_layer_input)?|d_model|d_latents|n_embd|dim|hidden_dim": 32,
    r".*emb(ed|edding)?_(size|dim)|intra_bottleneck_size|word_embed_proj_dim|lru_width": 32,
    r".*intermediate_size.*|.*ffn_dim|d_ff|dff|dim_ff|d_inner|.*ffn_hidden_size|mlp_dim": 48,
    r"mamba_d_ssm": 64,
    r".*position_embeddings|n_positions|n_ctx|max_.*_positions|max_seq_len": 64,
    r".*vocab_size.*|.*byte_group_vocab": VOCABULARY,
}
_INDEXER = {"indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 8}
_AXES = {"axial_pos_shape": (8, 8), "axial_pos_embds_dim": (16, 16), "num_buckets": 4}
_CHUNKS = {"local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8}
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
#: Further changes by model type: keys without a default, and values that are not sizes.
CHANGES = {
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "mllama_text_model": {"num_hidden_layers": 3, "cross_attention_layers": [1]},
    "nemotron": {"num_key_value_heads": 2},
    "neomme": {"head_dim": 16},
    "qwen4_exp_text": {**_INDEXER, "indexer_budget": 16, "indexer_compress_ratio": 4},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {**_AXES, **_CHUNKS, "attn_layers": ["local", "lsh"]},
    "vibevoice_acoustic_tokenizer_encoder": {"num_filters": 1, "depths": [1] * 7},
    "xlstm": {"hidden_size": 64, "embedding_dim": 64},
    "xmod": {"default_language": "en_XX"},
    # Some weights of the second attention block are those of the first.
    "zamba": {
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "attention_hidden_size": 64,
    },
}
KINDS = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "masked": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "sequence-to-sequence": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}


def kinds():
    """Return the kinds of each class, by the name of the class.

    The classes are all classes of the three kinds, and further classes for pretraining if they are
    causal, or if their model type has a class of the kind `masked`.
    """
    found = {}
    for kind, names in KINDS.items():
        for name in dict.fromkeys(names.values()):
            found.setdefault(name, []).append(kind)
    for model_type, name in modeling_auto.MODEL_FOR_PRETRAINING_MAPPING_NAMES.items():
        if model_type in KINDS["masked"] or name.endswith("ForCausalLM"):
            found.setdefault(name, ["masked" if model_type in KINDS["masked"] else "causal"])
    return dict(sorted(found.items()))


def make(name):
    """Return a miniature of a class of transformers, in evaluation mode."""
    model_class = getattr(transformers, name)
    config = model_class.config_class()
    # The default configurations of models like BERT are those of an encoder.
    is_decoder = name in KINDS["causal"].values() and hasattr(config, "is_decoder")
    config = shrunken(config, **({"is_decoder": True} if is_decoder else {}))
    # Some models fill a cache that they cannot read.
    config.use_cache = False
    torch.manual_seed(0)
    model = model_class(config).float().eval()
    with torch.no_grad():
        # Weights that are initialised with zeros would hide a part of the model.
        for weights in model.parameters():
            # Frozen weights, such as sinusoidal positions, are computed and not saved.
            if weights.requires_grad:
                weights += 0.02 * torch.randn_like(weights)
    return model


def shrunken(config, **changes):
    """Return a small copy of a configuration, with further changes."""
    changes = CHANGES.get(config.model_type, {}) | changes
    # Attributes that are not fields are computed from the fields.
    names = {each.name for each in dataclasses.fields(config)} - changes.keys()
    stored = {name: config.attribute_map.get(name, name) for name in sorted(names)}
    values = {key: vars(config)[name] for key, name in stored.items() if name in vars(config)}
    depth = getattr(config, "num_hidden_layers", None)
    lists = {k: v for k, v in values.items() if isinstance(v, list | tuple) and len(v) == depth}
    # Lists of different integers contain the numbers of blocks, rather than their kinds.
    kinds = [v for v in lists.values() if isinstance(v[0], str) or len(set(v)) < len(v)]
    blocks = _blocks(kinds)
    heads = values.get("num_attention_heads")
    for key, value in values.items():
        if isinstance(value, transformers.PretrainedConfig):
            values[key] = shrunken(value)
        elif key in lists:
            values[key] = [_small(key, value[block], heads, len(blocks)) for block in blocks]
        else:
            values[key] = _small(key, value, heads, len(blocks))
    return type(config)(**values | changes)


def _blocks(lists):
    """Return the first block of each kind, but at least two blocks, from lists of kinds."""
    kinds = list(zip(*lists, strict=True))
    first = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
    return first if len(first) > 1 else [0, 1]


def _small(key, value, heads, n_blocks):
    """Return a value of a configuration, reduced if it is a size or the id of a token."""
    if key.endswith(("token_id", "token_index")):
        ids = value if isinstance(value, list | tuple) else [value]
        return VOCABULARY - 1 if max(each or 0 for each in ids) >= VOCABULARY else value
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if re.fullmatch(BLOCKS, key):
        return min(value, n_blocks)
    if re.fullmatch(KEY_HEADS, key):
        # Several queries share a key only if they also do so in the default configuration.
        return min(value, 4 if value == heads else 2)
    limits = [limit for pattern, limit in SIZES.items() if re.fullmatch(pattern, key)]
    return min([value, *limits[:1]])
