"""What may be wrong with a row that is to be learned: a closed list; what is nearest to a cause comes first."""

from typing import Literal, NamedTuple

Fault = Literal["begin", "long", "turns", "cut", "end", "nothing", "mask", "prompt", "control", "unknown", "served"]


OTHER = "choose another template: template=chatml"


DEFECT = "this is a defect of refrain, report it"


class FaultText(NamedTuple):
    invariant: str  # that holds where the fault is not
    wrong: str  # in a row that has it
    way_out: str


FAULTS: dict[Fault, FaultText] = {
    "begin": FaultText(
        "one begin token", "the begin token stands twice at the beginning", f"the template writes one too many; {OTHER}"
    ),
    "long": FaultText(
        "no longer than allowed",
        "there are more tokens than the model sees at once or data.max_tokens allows",
        "lower data.max_tokens",
    ),
    "turns": FaultText(
        "every turn is written", "the template leaves out a turn, as if it did not know the role", OTHER
    ),
    "cut": FaultText("replies are whole", "a reply is cut: the ids end too soon, or the template shortens it", OTHER),
    "end": FaultText("end marker learned", "the end marker is not learned, so that no reply would ever end", OTHER),
    "nothing": FaultText("something to learn", "there is nothing to learn", OTHER),
    "mask": FaultText(
        "labels on replies alone", "the labels are not exactly on the replies and their end markers", DEFECT
    ),
    "prompt": FaultText(
        "asked as learned", "the last reply is learned behind other ids than evaluate and chat ask with", OTHER
    ),
    "control": FaultText("what is typed is text", "a control token stands where a person only typed its name", DEFECT),
    "unknown": FaultText(
        "no unknown token learned",
        "an unknown token is learned",
        "choose a model that has the characters, or remove them from the source",
    ),
    "served": FaultText(
        "served as learned", "the model is served with another template or tokenizer", "make it anew: dvc repro"
    ),
}
