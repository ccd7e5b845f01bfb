/** The chat that is open, and all that can be done to it. */

import { addTurn, choose, messagesBefore, newChat, repliesOf, shownTurns, withSystem } from "./chat.js";
import { fetchReply, newReply } from "./reply.js";
import { requestBody, setting } from "./settings.js";
import { saveChat } from "./store.js";

const SEEDS = 2 ** 31; // drawn below it, for two models
const ANOTHER = 0.8; // temperature of an answer that is asked for again

export const state = { chat: newChat(), running: null };

/** `onChat` draws the chat, `onNews` an answer of it, `onProblem` says why something failed. */
export const listeners = {};

export function openChat(chat) {
	stop();
	const replies = Object.values(chat.turns).flatMap(repliesOf);
	for (const reply of replies.filter((each) => each.isRunning)) Object.assign(reply, { isRunning: false, finish: "cancelled" }); // the tab was closed
	state.chat = chat;
	listeners.onChat();
}

export const stop = () => state.running?.abort();

export const ask = (text) => answer(addTurn(state.chat, shownTurns(state.chat).at(-1), { role: "user", content: text }));

/** Ask something else in the place of a question, which stays as a branch. */
export const editQuestion = (turn, text) => answer(addTurn(state.chat, state.chat.turns[turn.parent], { role: "user", content: text }));

/** Another answer: drawn where no temperature is set, for the likeliest one is there already. */
export const askAgain = (turn) => answer(state.chat.turns[turn.parent], setting("temperature") === undefined ? { temperature: ANOTHER } : {});

export function chooseBranch(turn) {
	choose(state.chat, turn);
	save();
	listeners.onChat();
}

/** Go on from the other model’s answer. */
export function swapReplies(turn) {
	[turn.reply, turn.beside] = [turn.beside, turn.reply];
	save();
	listeners.onChat();
}

/** A branch that is the same up to a token, then `text`, then what the model makes of that. */
export function goOnFrom(turn, reply, i, text) {
	const token = reply.tokens[i], other = token.top.find((candidate) => candidate.text === text) ?? token;
	const content = reply.content.slice(0, token.start) + text;
	const tokens = [...reply.tokens.slice(0, i), { ...token, text, logprob: other.logprob, end: content.length }];
	const { messages: _, ...request } = reply.request;
	const body = { ...request, continue_final_message: true, add_generation_prompt: false };
	return run(state.chat.turns[turn.parent], [newReply(body, { content, tokens })], [{ role: "assistant", content }]);
}

function answer(question, changes = {}) {
	const names = [setting("model"), setting("beside")];
	const seed = names[1] ? (setting("seed") ?? Math.floor(Math.random() * SEEDS)) : setting("seed");
	const replies = (names[1] ? names : names.slice(0, 1)).map((name) => newReply({ ...requestBody(name, seed), ...changes }));
	return run(question, replies, []);
}

/** Let an answer grow below a question. */
async function run(question, [reply, beside], begun) {
	stop();
	const { chat } = state, running = (state.running = new AbortController());
	const dropped = Math.min(chat.dropped, messagesBefore(chat, question).length);
	const turn = addTurn(chat, question, { role: "assistant", reply, dropped, system: setting("system"), ...(beside && { beside }) });
	save();
	listeners.onChat();
	const messages = [...promptOf(chat, turn), ...begun];
	await Promise.all(repliesOf(turn).map((each) => fetchReply(each, messages, running.signal, () => listeners.onNews(each))));
	chat.updated = Date.now();
	await save(chat);
	if (state.running === running) state.running = null;
	listeners.onChat();
}

export const promptOf = (chat, turn) => withSystem(turn.system, messagesBefore(chat, turn), turn.dropped);

export function nextPrompt(text) {
	const said = messagesBefore(state.chat, { parent: shownTurns(state.chat).at(-1)?.id });
	return withSystem(setting("system"), [...said, { role: "user", content: text }], state.chat.dropped);
}

/** Leave out this many of the oldest turns from now on; 0 puts them back. */
export function dropOldest(count) {
	state.chat.dropped = count;
	save();
}

/** Keep a chat, but for one that was deleted while it was open. */
export const save = (chat = state.chat) => chat.isGone || saveChat(chat).catch(listeners.onProblem);
