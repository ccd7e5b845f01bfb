/** Texts for the clipboard: also a request as a command or a program. */

import { readKey } from "./key.js";

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
	const isOwn = ([name]) => OWN_FIELDS.includes(name), fields = Object.entries(body);
	const known = fields.filter((field) => !isOwn(field)).map(([name, value]) => `    ${name}=${literal(value)},\n`);
	const own = fields.filter(isOwn).map(([name, value]) => `"${name}": ${literal(value)}`);
	if (own.length) known.push(`    extra_body={${own.join(", ")}},\n`);
	const key = readKey() ? `os.environ["OPENAI_API_KEY"]` : `"none"`;
	return `${readKey() ? "import os\n\n" : ""}from openai import OpenAI\n\n` +
		`client = OpenAI(base_url=${JSON.stringify(address("v1"))}, api_key=${key})\n` +
		`answer = client.chat.completions.create(\n${known.join("")})\nprint(answer.choices[0].message.content)\n`;
}

/** As Python writes it: texts, numbers, lists and objects of these are written as in JSON. */
function literal(value) {
	if (typeof value === "boolean") return value ? "True" : "False";
	return JSON.stringify(value, null, 4).replaceAll("\n", "\n    ");
}
