"""The shapes that config.json promises, which those of the tensors must be."""

from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Norm


def require_tables(decoder: Decoder, vocabulary: int) -> None:
    """ValueError unless embedding and head have a row of the same width for each token of the vocabulary."""
    width = decoder.embedding.shape[1]
    require_shape("the embedding", decoder.embedding, vocabulary, width)
    require_norm("the final norm", decoder.final_norm, width)
    if decoder.lm_head is not None:
        require_linear("the head", decoder.lm_head, vocabulary, width)
    if decoder.position_embedding is not None:
        require_shape("the embedding of positions", decoder.position_embedding, decoder.context, width)


def require_layer(decoder: Decoder, layer: Layer, i: int) -> None:
    """ValueError unless the matrices of a layer fit each other and the numbers of config.json."""
    width, query_width = decoder.embedding.shape[1], decoder.heads * decoder.head_dim
    qkv_width, (_, mlp_width) = query_width + 2 * decoder.kv_heads * decoder.head_dim, layer.down.weight.shape
    name = f"layer {i}"
    for norm in (layer.before_attention, layer.after_attention, layer.before_mlp, layer.after_mlp):
        require_norm(f"a norm of {name}", norm, width)
    for norm, heads in ((layer.q_norm, decoder.heads), (layer.k_norm, decoder.kv_heads)):
        is_whole = norm is not None and len(norm.weight) != decoder.head_dim
        require_norm(f"a norm of the heads of {name}", norm, decoder.head_dim * (heads if is_whole else 1))
    require_linear(f"queries, keys and values of {name}", layer.qkv, qkv_width, width)
    require_linear(f"the output of attention of {name}", layer.out, width, query_width)
    require_linear(f"the upper matrix of {name}", layer.up, mlp_width * (2 if decoder.gated else 1), width)
    require_linear(f"the lower matrix of {name}", layer.down, width, mlp_width)


def require_norm(name: str, norm: Norm | None, width: int) -> None:
    if norm is not None:
        require_shape(name, norm.weight, width)
        if norm.bias is not None:
            require_shape(f"the bias of {name}", norm.bias, width)


def require_linear(name: str, layer: Linear, rows: int, columns: int) -> None:
    require_shape(name, layer.weight, rows, columns)
    if layer.bias is not None:
        require_shape(f"the bias of {name}", layer.bias, rows)


def require_shape(name: str, array: Array, *shape: int) -> None:
    if array.shape != shape:
        raise ValueError(
            f"model.safetensors: the shape of {name} is {list(array.shape)}, config.json promises {list(shape)}"
        )
