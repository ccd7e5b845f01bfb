/** A chat is a tree of turns: what was edited or asked again stays, as a branch beside the new one. */

export const newId = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** `turns` by id, in their order; `chosen`: which turn below another is shown. */
export function newChat() {
	return { id: newId(), title: "", created: Date.now(), updated: Date.now(), turns: {}, chosen: {}, dropped: 0 };
}

/** A turn below another, or below none; it is shown from now on. */
export function addTurn(chat, parent, fields) {
	const turn = { id: newId(), parent: parent?.id ?? "", created: Date.now(), ...fields };
	chat.turns[turn.id] = turn;
	choose(chat, turn);
	if (!chat.title && turn.role === "user") chat.title = turn.content.trim().split("\n")[0].slice(0, 80);
	return turn;
}

export function choose(chat, turn) {
	chat.chosen[turn.parent] = turn.id;
	chat.updated = Date.now();
}

export function shownTurns(chat) {
	const turns = [];
	for (let id = ""; ; id = turns.at(-1).id) {
		const turn = chat.turns[chat.chosen[id]];
		if (turn?.parent !== id) return turns;
		turns.push(turn);
	}
}

export const branches = (chat, turn) => Object.values(chat.turns).filter((other) => other.parent === turn.parent);

/** What was said before a turn, as the API takes it. */
export function messagesBefore(chat, turn) {
	const messages = [];
	for (let at = chat.turns[turn.parent]; at; at = chat.turns[at.parent]) {
		if (at.reply?.content === "") at = chat.turns[at.parent]; // a question without an answer is not sent again
		else messages.unshift({ role: at.role, content: (at.reply ?? at).content });
	}
	return messages;
}

/** What a request sends: the system's message, then all but the oldest that are left out. */
export function withSystem(system, messages, dropped = 0) {
	const kept = messages.slice(Math.min(dropped, Math.max(0, messages.length - 1)));
	return system ? [{ role: "system", content: system }, ...kept] : kept;
}

/** The answers of a turn; two where two models answered. */
export const repliesOf = (turn) => [turn.reply, turn.beside].filter(Boolean);
