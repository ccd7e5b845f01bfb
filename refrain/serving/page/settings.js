/** What is asked of the model beside the question. What is not set is not sent. */

export const FIELDS = [
	{ name: "model", kind: "model" },
	{ name: "beside", kind: "model", hint: "a second one answers too, with the same seed" },
	{ name: "system", kind: "text" },
	{ name: "temperature", hint: "0: always the likeliest token" },
	...["top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "max_tokens"].map((name) => ({ name })),
	{ name: "seed", hint: "drawn anew for each answer where none is set" },
	{ name: "stop", kind: "text", hint: "one text a line" },
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
		if ((value ?? "") === "") delete values[name];
		else values[name] = value;
	}
	localStorage.setItem(KEPT, JSON.stringify(values));
	listeners.forEach((listener) => listener());
}

export const resetSettings = () => setSettings(Object.fromEntries(changedNames().map((name) => [name, ""])));

/** Those of the address, or else those of last time. */
export function loadSettings() {
	const linked = new URLSearchParams(location.hash.slice(1));
	const isLinked = FIELDS.some(({ name }) => linked.has(name));
	const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
	const read = (field) => (isLinked ? parse(field, linked.get(field.name) ?? "") : kept[field.name]);
	setSettings(Object.fromEntries(FIELDS.map((field) => [field.name, read(field)])));
}

/** The address of this page with these settings and a question. */
export function linkTo(question = "") {
	const parameters = new URLSearchParams(values);
	if (question) parameters.set("q", question);
	return `${location.origin}${location.pathname}#${parameters}`;
}

/** A field's text as its value; "" for none. Which numbers are allowed is known to the server. */
export const parse = (field, text) => (field.kind ? text : text.trim() === "" || isNaN(text) ? "" : Number(text));

/** A request without its messages. */
export function requestBody(model, seed) {
	const { beside, system, stop, model: _, ...numbers } = values;
	const lines = stop?.split("\n").filter(Boolean) ?? [];
	return {
		...(model && { model }), ...numbers, ...(lines.length && { stop: lines }), ...(seed !== undefined && { seed }),
		logprobs: true, top_logprobs: ALTERNATIVES,
	};
}
