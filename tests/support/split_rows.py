def places(files):
    return {row["id"].partition(":")[2]: name for name in ("train", "val", "test") for row in files[name]}
