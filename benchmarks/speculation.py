"""What prompt lookup decoding gains where a text repeats itself, and what it costs where it does not.

    python -m benchmarks.speculation FOLDER [--base MODEL] [--draft-tokens N] [--rounds N] [--threads N]

FOLDER holds an exported model of any kind that continues text, or gets the int8 variant of a pretrained one. Each round
says the same replies with drafts and without, in turns, and compares every token: ratios are taken within a round, of
seconds and of CPU time; those of several texts are a median, with the lowest and the highest.
"""

import argparse
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.contenders import refrain_model
from benchmarks.harness import tables, templated_base
from refrain.generation import model as generation_model
from refrain.generation.model import Model
from refrain.generation.options import Options
from refrain.generation.sequence import Sequence

ARTICLE = """The watershed of a river is all the land from which water flows into it. Rain on a ridge runs down one side
or the other, and the ridge is where two watersheds meet. Engineers in Port Alder measured the watershed of the Alder
River in 1987 and found 412 square kilometres, of which 230 are forest, 120 are fields and 62 are towns. They proposed
three dams; one was built, at Grey Stone, and it holds 18 million cubic metres of water."""
CODE = """def read_scores(path):
    scores = {}
    with open(path) as file:
        for line in file:
            name, score = line.split(",")
            scores[name] = int(score)
    return scores


def write_scores(path, scores):
    with open(path, "w") as file:
        for name, score in scores.items():
            file.write(f"{name},{score}\n")
"""
RECORDS = "".join(
    f'{{"name": "{name}", "city": "{city}", "year": {year}}}\n'
    for name, city, year in (("Ada Moor", "Port Alder", 1987), ("Ben Lund", "Grey Stone", 1991),
                             ("Cora Hill", "Port Alder", 1994), ("Dan Reed", "Millbrook", 1998))
)  # fmt: skip
REPETITIVE = {
    "a text said again": f"{ARTICLE}\n\nThe same text once more:\n\nThe watershed of a river",
    "code with a change": f"{CODE}\n\n# The same two functions, with the encoding given:\n\ndef read_scores(path):",
    "records": f'{RECORDS}{{"name": "Eve Marsh", "city": "Port Alder", "year": 2001}}\n{{"name":',
}
ORDINARY = {
    "a story": "Once upon a time a lighthouse keeper found a letter in a bottle. He opened it, and",
    "an explanation": "Why do leaves change their colour in autumn? The reason is that",
    "advice": "Before you buy a used bicycle, you should look at",
}
UNDER_SCHEMA = {"a record under a schema": "Ada Moor was born in Port Alder in 1987 and is a member. As JSON:\n"}
SCHEMA = {
    "type": "object",
    "properties": {
        "given_name": {"type": "string", "maxLength": 12},
        "year_of_birth": {"type": "integer", "minimum": 1000, "maximum": 2030},
        "place_of_residence": {"type": "string", "maxLength": 20},
        "is_member_of_the_club": {"type": "boolean"},
    },
    "required": ["given_name", "year_of_birth", "place_of_residence", "is_member_of_the_club"],
    "additionalProperties": False,
}
SAMPLED: Options = {"temperature": 0.9, "top_p": 0.95, "seed": 3}
HEADER = ["texts", "tokens", "tokens/s", "with drafts", "x", "x of CPU time", "drafted", "came true", "same text"]


@dataclass(frozen=True)
class Gain:
    """What drafts did for one text: medians over rounds."""

    tokens: int
    rate: float  # tokens a second without drafts
    ratio: float
    cpu_ratio: float
    drafted: int
    accepted: int
    is_same: bool  # in all rounds, to the last token


def main() -> None:
    options = arguments()
    folder = options.folder
    if options.base:
        folder = options.folder.resolve() / "int8-32"
        shutil.rmtree(folder, ignore_errors=True)
        base = templated_base.add_template(options.base.resolve(), "alpaca", folder.with_name("base"))
        refrain_model.export_variant(base, folder, folder.name)
    plain = generation_model.load(folder, threads=options.threads, max_num_seqs=1)
    drafting = generation_model.load(folder, threads=options.threads, max_num_seqs=1,
                               prompt_lookup_num_tokens=options.draft_tokens)  # fmt: skip
    rows = [HEADER]
    for kind, label, prompts in (
        ({}, "repetitive texts", REPETITIVE),
        ({"schema": SCHEMA}, "a record under a schema", UNDER_SCHEMA),
        (SAMPLED, "sampled, repetitive texts", REPETITIVE),
        (SAMPLED, "sampled, other texts", ORDINARY),
    ):
        given: Options = {"max_tokens": options.tokens, **kind}  # type: ignore[typeddict-item]
        gains = []
        for name, prompt in prompts.items():
            gains.append(compare(plain, drafting, prompt, given, options.rounds))
            print(tables.align([HEADER, row(name, gains[-1:])]), file=sys.stderr, flush=True)
        rows.append(row(label, gains))
    print(tables.to_markdown(rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", type=Path, help="a pretrained model, whose int8 variant is written into the folder")
    parser.add_argument("--draft-tokens", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def compare(plain: Model, drafting: Model, prompt: str, given: Options, rounds: int) -> Gain:
    """One text with drafts and without, in turns."""
    seconds, ratios, cpu_ratios, is_same = list[float](), list[float](), list[float](), True
    for model in (plain, drafting):  # the prompt is in memory then, and what is allocated once
        say(model, prompt, {**given, "max_tokens": 2})
    for _ in range(rounds):
        sequence, wall, cpu = say(plain, prompt, given)
        drafted, drafted_wall, drafted_cpu = say(drafting, prompt, given)
        is_same = is_same and sequence.ids == drafted.ids and sequence.text == drafted.text
        seconds.append(wall)
        ratios.append(wall / drafted_wall)
        cpu_ratios.append(cpu / drafted_cpu)
    tokens, counts = len(sequence.ids), drafted.draft_counts
    return Gain(tokens, tokens / median(seconds), median(ratios), median(cpu_ratios), counts.draft_tokens,
                counts.accepted_tokens, is_same)  # fmt: skip


def row(name: str, gains: list[Gain]) -> list[str]:
    """A row of the table: medians over texts, with the range of ratios."""
    rate, ratios, cpu_ratios = ([getattr(gain, each) for gain in gains] for each in ("rate", "ratio", "cpu_ratio"))
    counts = [str(sum(getattr(gain, each) for gain in gains)) for each in ("tokens", "drafted", "accepted")]
    spread = [f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in (ratios, cpu_ratios)]
    speeds = f"{median(rate):.0f}", f"{median(gain.rate * gain.ratio for gain in gains):.0f}"
    return [name, counts[0], *speeds, *spread, *counts[1:], "yes" if all(gain.is_same for gain in gains) else "NO"]


def say(model: Model, prompt: str, given: Options) -> tuple[Sequence, float, float]:
    """What follows a text, its seconds and its seconds of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    stream = model.start(model.tokenize(prompt), given, is_chat=False)
    generation_model.read_all(stream)
    return stream.reply.sequence, time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
