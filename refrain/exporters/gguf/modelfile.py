"""Ollama's Modelfile: the file, the chat template in Go's language, where a reply ends, how much it sees.

Jinja cannot be translated, but what a template does can be seen: what it writes before, between and behind turns. That
is put in Go's words where it makes every held-out prompt as the template does, and left out where it does not.
"""

import json
from dataclasses import dataclass

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.chat.templates import TemplateRefusalError
from refrain.exporters.gguf.questions import Prompt

FIRST, REPLY, SECOND, ORDER = "\ue000", "\ue001", "\ue002", "\ue003"  # texts that no template writes
NOTHING_SAID = """# The chat template writes more than what stands between turns, so Ollama cannot be told of it: give
# `ollama run` whole prompts, or use llama.cpp, which reads the template in the file."""


@dataclass(frozen=True)
class TurnFrames:
    """What a template writes around the words of turns, up to where the assistant speaks."""

    beginning: str  # before the first user's words, where there is no system turn
    before_reply: str
    before_next: str  # between a reply and the next user's words
    before_system: str | None  # None: it takes no system turn
    behind_system: str

    def render(self, messages: list[Message]) -> str:
        """The prompt as Ollama makes it of the Go template."""
        text = ""
        for i, message in enumerate(messages):
            role, content = message["role"], message["content"]
            if role == "user":
                follows_system = i == 1 and messages[0]["role"] == "system"
                before = self.behind_system if follows_system else self.before_next if i else self.beginning
                text += before + content + self.before_reply
            else:
                text += (self.before_system or "" if role == "system" else "") + content
        return text

    def to_go(self) -> str:
        """The same in Go's template language, all literal text within quotes."""
        follows = f"{{{{ else if and (eq $i 1) $.System }}}}{quote(self.behind_system)}"
        system = f'{{{{ if eq $m.Role "system" }}}}{quote(self.before_system or "")}{{{{ $m.Content }}}}'
        user = (f'{{{{ else if eq $m.Role "user" }}}}{{{{ if eq $i 0 }}}}{quote(self.beginning)}'
                f"{follows if self.before_system is not None else ''}{{{{ else }}}}{quote(self.before_next)}"
                f"{{{{ end }}}}{{{{ $m.Content }}}}{quote(self.before_reply)}")  # fmt: skip
        reply = '{{ else if eq $m.Role "assistant" }}{{ $m.Content }}{{ end }}'
        return f"{{{{ range $i, $m := .Messages }}}}{system}{user}{reply}{{{{ end }}}}"


def quote(text: str) -> str:
    """An action of Go's template language that writes a text; JSON's escapes are Go's."""
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}" if text else ""


def find_frames(tokenizer: ChatTokenizer) -> TurnFrames | None:
    """What the template writes around turns; None where it writes more, or changes what is said."""
    first, reply, second = (Message(role=role, content=text) for role, text in
                            (("user", FIRST), ("assistant", REPLY), ("user", SECOND)))  # fmt: skip
    beginning, _, before_reply = render(tokenizer, [first]).partition(FIRST)
    _, _, rest = render(tokenizer, [first, reply, second]).partition(REPLY)
    frames = TurnFrames(beginning, before_reply, rest.partition(SECOND)[0], None, "")
    try:
        before, _, rest = render(tokenizer, [Message(role="system", content=ORDER), first]).partition(ORDER)
        frames = TurnFrames(beginning, before_reply, frames.before_next, before, rest.partition(FIRST)[0])
    except TemplateRefusalError:
        pass
    asked = [[first], [first, reply, second], [first, reply, second, reply, first]]
    return frames if all(frames.render(each) == render(tokenizer, each) for each in asked) else None


def render(tokenizer: ChatTokenizer, messages: list[Message]) -> str:
    return encoding.render_conversation(tokenizer, messages, add_generation_prompt=True)[0]


def make_modelfile(file: str, tokenizer: ChatTokenizer, prompts: list[Prompt], context: int) -> str:
    """The text of a Modelfile beside a GGUF file."""
    frames = find_frames(tokenizer)
    is_right = frames is not None and all(frames.render(each.messages) == each.text for each in prompts)
    template = f'TEMPLATE """{frames.to_go()}"""' if frames is not None and is_right else NOTHING_SAID
    names = map(tokenizer.tokenizer.id_to_token, sorted(tokenizer.stop_ids))
    stops = [f"PARAMETER stop {json.dumps(text, ensure_ascii=False)}" for text in [*names, *tokenizer.stop_strings]]
    lines = [f"FROM ./{file}", template, *stops, f"PARAMETER num_ctx {context}", "PARAMETER temperature 0"]
    return "\n".join(lines) + "\n"
