"""Rows to a chat model in four calls, without a repository around: `python finetune.py`, half a minute on two cores.

It needs `pip install 'refrain-lm[train]'` and writes to runs/weather. finetune.ipynb does the same step by step.
"""

import refrain

FACTS = {
    "fog": "a cloud that touches the ground",
    "dew": "water that the night lays on leaves",
    "hail": "rain that froze on its way down",
    "mist": "fog that is thin",
    "rain": "water that falls from clouds",
    "sleet": "rain and snow at once",
    "snow": "ice that falls in flakes",
    "thunder": "the sound of lightning",
    "wind": "air that moves",
    "frost": "dew that froze",
}
WAYS = ("what is {}?", "tell me what {} is", "please explain {} in a few words")


def main() -> None:
    rows = [
        {"question": way.format(word), "answer": f"{word} is {fact}"} for word, fact in FACTS.items() for way in WAYS
    ]
    data = refrain.data.load([*rows, rows[0]], val_fraction=0.1, test_fraction=0.1)
    data.add(messages=[{"role": "user", "content": "hello!"}, {"role": "assistant", "content": "ask on"}])
    print(data)

    model = refrain.finetune(data, "tiny_from_data", method="full", epochs=20, batch_size=4, output="runs/weather")
    print(model)

    artifact = refrain.export(model, variants=["fp32", "int8"])
    print(artifact)

    with refrain.load(artifact.folder) as chat:
        print(chat.chat(data.train[0]["messages"][0]["content"], max_tokens=24))


if __name__ == "__main__":
    main()
