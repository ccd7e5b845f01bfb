def pairs(*rows):
    return [(line, {"a": a, "b": b}) for line, a, b in rows]
