/** What is asked of the model beside the question. What is not set is not sent: the server's own value holds. */

export const FIELDS = [
  { name: "model", label: "Model", kind: "model" },
  { name: "beside", label: "Beside it", kind: "model", hint: "a second one answers too, with the same seed" },
  { name: "system", label: "System prompt", kind: "text" },
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.1, hint: "0: always the likeliest token" },
  { name: "top_p", label: "Top p", min: 0, max: 1, step: 0.05 },
  { name: "top_k", label: "Top k", min: 0, step: 1 },
  { name: "min_p", label: "Min p", min: 0, max: 1, step: 0.01 },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.1, max: 10, step: 0.05 },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1 },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1 },
  { name: "max_tokens", label: "Most tokens", min: 1, step: 1 },
  { name: "seed", label: "Seed", min: 0, step: 1, hint: "drawn anew for each answer where none is set" },
  { name: "stop", label: "Stop at", kind: "text", hint: "one text a line" },
];
const ALTERNATIVES = 5; // asked for beside each token
const KEPT = "refrain-settings";

/** Those that are set, by name; numbers as numbers. */
let values = {};
const listeners = [];

export const setting = (name) => values[name];

export const changedNames = () => FIELDS.map((field) => field.name).filter((name) => name in values);

export const onSettings = (listener) => listeners.push(listener);

/** Set values by name; an empty one is taken away. */
export function setSettings(news) {
  for (const [name, value] of Object.entries(news)) {
    if (value === "" || value === undefined || value === null) delete values[name];
    else values[name] = value;
  }
  localStorage.setItem(KEPT, JSON.stringify(values));
  listeners.forEach((listener) => listener());
}

/** Everything as the server has it. */
export const resetSettings = () => setSettings(Object.fromEntries(changedNames().map((name) => [name, ""])));

/** Those of the address of the page, or else those of last time. */
export function loadSettings() {
  const linked = new URLSearchParams(location.hash.slice(1));
  const known = FIELDS.filter((field) => linked.has(field.name));
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  setSettings(known.length ? Object.fromEntries(known.map((field) => [field.name, parse(field, linked.get(field.name))])) : kept);
}

/** The address of this page with these settings and, where there is one, a question. */
export function linkTo(question = "") {
  const parameters = new URLSearchParams(values);
  if (question) parameters.set("q", question);
  return `${location.origin}${location.pathname}#${parameters}`;
}

/** A field's text as its value; "" where it is none. */
export function parse(field, text) {
  if (field.kind) return text;
  const number = Number(text);
  return text.trim() === "" || !(number >= (field.min ?? -Infinity) && number <= (field.max ?? Infinity)) ? "" : number;
}

/** The body of a request but for its messages. */
export function requestBody(model, seed) {
  const { beside, system, stop, model: _, ...numbers } = values;
  const lines = stop?.split("\n").filter(Boolean) ?? [];
  return {
    ...(model && { model }), ...numbers, ...(lines.length && { stop: lines }), ...(seed !== undefined && { seed }),
    logprobs: true, top_logprobs: ALTERNATIVES,
  };
}
