"""The prepare stage on sources made up for a test, run in the working directory."""

import json

from refrain import paths, records
from refrain.config import Config, Data, Source
from stages import prepare

QUESTION = "How much of all the water on Earth is salty water in the oceans"
LONG = QUESTION + ", the seas and the many bays of every shore"


def run(*sources, val=0.0, test=0.0, seed=1):
    """The rows of each file in data/prepared; of sources as (name, content, settings) a list becomes JSON Lines."""
    paths.LINKED_DATA.mkdir(parents=True, exist_ok=True)
    declared = [Source(f"some/{name}", **settings) for name, _, settings in sources]
    for index, (name, content, _) in enumerate(sources):
        lines = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        records.link(index, f"some/{name}").write_bytes(lines.encode())
    prepare.main(Config(seed=seed, data=Data("test", ".", declared, val, test)))
    return {file.stem: records.read(file) for file in paths.PREPARED.iterdir()}


def qa(question, answer="Yes."):
    return {"question": question, "answer": answer}


def ids(rows):
    return [row["id"] for row in rows]


def split_of(files):
    """The questions of each split."""
    return {name: {row["messages"][0]["content"] for row in files[name]} for name in ("train", "val", "test")}


def numbered(count):
    """Questions that share no three words."""
    return [qa(" ".join(f"{word}{number}" for word in "abcdef"), str(number)) for number in range(count)]
