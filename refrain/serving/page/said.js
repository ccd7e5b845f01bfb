/** What a screen reader hears of an answer: whole sentences. */

import { $, h } from "./dom.js";

const MOST = 40; // sentences that are kept
const heard = new WeakMap(); // how much of each answer

/** Say the sentences that an answer has by now; all of it where it has ended. */
export function sayAnswer(reply) {
	const begin = heard.get(reply) ?? reply.prefix;
	const rest = reply.content.slice(begin);
	const end = reply.isRunning ? Math.max(0, ...[...rest.matchAll(/[.!?…:]["”’)]*\s|\n/g)].map(({ 0: mark, index }) => index + mark.length)) : rest.length;
	if (!end) return;
	heard.set(reply, begin + end);
	say(rest.slice(0, end).trim());
}

export function say(text) {
	if (text) $("said").append(h("p", {}, text));
	while ($("said").children.length > MOST) $("said").firstChild.remove();
}
