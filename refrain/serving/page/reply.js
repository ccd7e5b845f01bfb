/** One answer while it comes, and what is known of it afterwards. */

import { stream } from "./api.js";

const MEASURED = 0.05; // seconds that make a speed

/** An answer that has not begun; `prefix` is what it goes on from. */
export function newReply(request, prefix = { content: "", tokens: [] }) {
	const { content, tokens } = prefix;
	return { request, content, tokens, prefix: content.length, numPrefix: tokens.length, isRunning: true, created: Date.now() };
}

/** Let the server answer; `onNews` hears of each piece. It never throws: an error is part of the reply. */
export async function fetchReply(reply, messages, signal, onNews) {
	const began = performance.now();
	const bytes = new TextDecoder(); // a character may be cut between two tokens
	try {
		const body = { ...reply.request, messages, stream_options: { include_usage: true } };
		for await (const event of stream("v1/chat/completions", body, signal)) {
			takeEvent(reply, event, bytes, performance.now() - began);
			onNews();
		}
	} catch (error) {
		if (error.name === "AbortError") reply.finish = "cancelled";
		else reply.error = error.message;
	}
	reply.isRunning = false;
	onNews();
}

function takeEvent(reply, event, bytes, elapsed) {
	const choice = event.choices[0];
	reply.id ??= event.id;
	reply.model ??= event.model;
	if (event.usage) reply.usage = event.usage;
	if (event.refrain) reply.refrain = event.refrain;
	if (!choice) return;
	reply.content += choice.delta?.content ?? "";
	for (const token of choice.logprobs?.content ?? []) reply.tokens.push(readToken(reply, token, bytes));
	if (choice.finish_reason) reply.finish = choice.finish_reason;
	if (reply.tokens.length > reply.numPrefix || reply.content.length > reply.prefix) {
		reply.first ??= { at: elapsed / 1000, tokens: reply.tokens.length };
		reply.last = elapsed / 1000;
	}
}

/** A token with the place of its text in the answer. */
function readToken(reply, { token, logprob, bytes, top_logprobs: top }, decoder) {
	const start = reply.tokens.at(-1)?.end ?? 0;
	const text = bytes ? decoder.decode(new Uint8Array(bytes), { stream: true }) : token;
	const alternatives = (top ?? []).map((other) => ({ text: readText(other), logprob: other.logprob }));
	return { start, end: start + text.length, text: bytes ? readText({ token, bytes }) : token, logprob, top: alternatives };
}

const readText = ({ token, bytes }) => (bytes ? new TextDecoder().decode(new Uint8Array(bytes)) : token);

export const numTokens = (reply) => reply.usage?.completion_tokens ?? reply.tokens.length - reply.numPrefix;

/** Tokens a second after the first ones, which come together. */
export function speed({ tokens, first, last }) {
	const count = tokens.length - first?.tokens;
	return count > 0 && last - first.at > MEASURED ? count / (last - first.at) : null;
}
