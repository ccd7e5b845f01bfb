/** What is asked of the model beside the question. What is not set is not sent. */

export const FIELDS = [
	{ name: "model", label: "Model", kind: "model" },
	{ name: "beside", label: "Beside it", kind: "model", hint: "a second one answers too, with the same seed" },
	{ name: "system", label: "System prompt", kind: "text" },
	{ name: "temperature", label: "Temperature", hint: "0: always the likeliest token" },
	{ name: "top_p", label: "Top p" },
	{ name: "top_k", label: "Top k" },
	{ name: "min_p", label: "Min p" },
	{ name: "repetition_penalty", label: "Repetition penalty" },
	{ name: "presence_penalty", label: "Presence penalty" },
	{ name: "frequency_penalty", label: "Frequency penalty" },
	{ name: "max_tokens", label: "Most tokens" },
	{ name: "seed", label: "Seed", hint: "drawn anew for each answer where none is set" },
	{ name: "stop", label: "Stop at", kind: "text", hint: "one text a line" },
];
const ALTERNATIVES = 5; // asked for beside each token
const KEPT = "refrain-settings";

let values = {};
const listeners = [];

export const setting = (name) => values[name];

export const changedNames = () => FIELDS.map((field) => field.name).filter((name) => name in values);

export const onSettings = (listener) => listeners.push(listener);

/** Set values by name; "" takes one away. */
export function setSettings(news) {
	for (const [name, value] of Object.entries(news)) {
		if (value === "" || value === undefined || value === null) delete values[name];
		else values[name] = value;
	}
	localStorage.setItem(KEPT, JSON.stringify(values));
	listeners.forEach((listener) => listener());
}

export const resetSettings = () => setSettings(Object.fromEntries(changedNames().map((name) => [name, ""])));

/** Those of the address, or else those of last time. */
export function loadSettings() {
	const linked = new URLSearchParams(location.hash.slice(1));
	const known = FIELDS.filter((field) => linked.has(field.name));
	const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
	setSettings(known.length ? Object.fromEntries(known.map((field) => [field.name, parse(field, linked.get(field.name))])) : kept);
}

/** The address of this page with these settings and a question. */
export function linkTo(question = "") {
	const parameters = new URLSearchParams(values);
	if (question) parameters.set("q", question);
	return `${location.origin}${location.pathname}#${parameters}`;
}

/** A field's text as its value; "" for none. Which numbers are allowed is known to the server. */
export const parse = (field, text) => (field.kind ? text : text.trim() === "" || isNaN(text) ? "" : Number(text));

/** The body of a request but for its messages. */
export function requestBody(model, seed) {
	const { beside, system, stop, model: _, ...numbers } = values;
	const lines = stop?.split("\n").filter(Boolean) ?? [];
	return {
		...(model && { model }), ...numbers, ...(lines.length && { stop: lines }), ...(seed !== undefined && { seed }),
		logprobs: true, top_logprobs: ALTERNATIVES,
	};
}
