/** Requests to the server. */

import { askForKey, readKey } from "./key.js";

export class ApiError extends Error {
	constructor(status, { message } = {}) {
		super(message || `the server answered ${status} without a reason`);
		this.status = status;
	}
}

/** The answer to a GET, or to a POST where there is a body. */
export async function call(path, body, { signal, method } = {}) {
	const response = await send(path, body, signal, method);
	return response.json();
}

/** The events of a streamed answer; ApiError where it fails or ends before it is whole. */
export async function* stream(path, body, signal) {
	const response = await send(path, { ...body, stream: true }, signal);
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	for (let rest = ""; ; ) {
		const { value, done } = await reader.read();
		if (done) throw new ApiError(0, { message: "the connection ended before the answer did" });
		const events = (rest + value).split("\n\n");
		rest = events.pop();
		for (const event of events) {
			if (!event.startsWith("data: ")) continue; // a comment that keeps the connection open
			if (event === "data: [DONE]") return;
			const data = JSON.parse(event.slice(6));
			if (data.error) throw new ApiError(0, data.error);
			yield data;
		}
	}
}

async function send(path, body, signal, method) {
	for (;;) {
		const key = readKey();
		const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { Authorization: `Bearer ${key}` }) };
		method ??= body ? "POST" : "GET";
		const request = { method, headers, signal, body: body && JSON.stringify(body) };
		const response = await fetch(path, request).catch((error) => {
			if (error.name === "AbortError") throw error;
			throw new ApiError(0, { message: `the server does not answer (${error.message}); is it still running?` });
		});
		if (response.ok) return response;
		if (response.status === 401 && (readKey() !== key || (await askForKey(Boolean(key))))) continue;
		throw new ApiError(response.status, (await response.json().catch(() => ({}))).error);
	}
}
