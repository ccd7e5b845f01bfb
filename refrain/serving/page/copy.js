/** Texts for the clipboard: also a request as a command or a program. */

import { readKey } from "./key.js";

/** Put text on the clipboard; the button says so. */
export async function copyText(text, pressed) {
	if (navigator.clipboard) await navigator.clipboard.writeText(text);
	else copyWithSelection(text); // an address without TLS
	const label = (pressed.dataset.label ??= pressed.textContent);
	pressed.textContent = "Copied";
	setTimeout(() => (pressed.textContent = label), 1500);
}

function copyWithSelection(text) {
	const area = document.createElement("textarea");
	area.value = text;
	document.activeElement.after(area);
	area.select();
	document.execCommand("copy");
	area.remove();
}

const address = (path) => new URL(path, document.baseURI).href;

/** A request for a shell; the key, where there is one, as a variable. */
export function asCurl(body) {
	const key = readKey() ? ` \\\n  -H "Authorization: Bearer $OPENAI_API_KEY"` : "";
	const json = JSON.stringify(body, null, 2).replaceAll("'", `'\\''`);
	return `curl ${address("v1/chat/completions")} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d '${json}'\n`;
}

const OWN_FIELDS = ["top_k", "min_p", "repetition_penalty", "continue_final_message", "add_generation_prompt"]; // not OpenAI's

/** A request for OpenAI's Python client. */
export function asPython(body) {
	const known = Object.entries(body).filter(([name]) => !OWN_FIELDS.includes(name));
	const own = Object.entries(body).filter(([name]) => OWN_FIELDS.includes(name));
	const lines = [["model", "refrain"], ...known].map(([name, value]) => [name, pythonValue(value, 1)]);
	const fields = new Map(lines);
	if (own.length) fields.set("extra_body", pythonValue(Object.fromEntries(own), 1));
	const written = [...fields].map(([name, value]) => `    ${name}=${value},\n`).join("");
	const key = readKey() ? `os.environ["OPENAI_API_KEY"]` : `"none"`;
	return `${readKey() ? "import os\n\n" : ""}from openai import OpenAI\n\n` +
		`client = OpenAI(base_url=${JSON.stringify(address("v1"))}, api_key=${key})\n` +
		`answer = client.chat.completions.create(\n${written})\nprint(answer.choices[0].message.content)\n`;
}

function pythonValue(value, depth) {
	if (value === true) return "True";
	if (value === false) return "False";
	if (value === null) return "None";
	if (typeof value !== "object") return JSON.stringify(value);
	const pad = "    ".repeat(depth + 1), isList = Array.isArray(value);
	const items = isList
		? value.map((item) => `${pad}${pythonValue(item, depth + 1)},\n`)
		: Object.entries(value).map(([name, item]) => `${pad}${JSON.stringify(name)}: ${pythonValue(item, depth + 1)},\n`);
	const [first, last] = isList ? "[]" : "{}";
	return items.length ? `${first}\n${items.join("")}${pad.slice(4)}${last}` : `${first}${last}`;
}
