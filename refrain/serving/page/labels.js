/** Labels of an answer’s text: how likely each token was, and where another answer differs. */

import { h } from "./dom.js";

const LEVELS = [0.9, 0.6, 0.3, 0.1]; // below each of them the underline is one step stronger

/** How surprising a token was, from 0 to 4. */
const surprise = (logprob) => LEVELS.filter((probability) => Math.exp(logprob) < probability).length;

export const percent = (logprob) => `${(Math.exp(logprob) * 100).toFixed(1)} %`;

/** Labels for render.js: tokens where they are wanted, and `ranges` that differ from another answer; null for none. */
export function labelsOf({ content, tokens }, showsTokens, ranges = []) {
	if (!(showsTokens && tokens.length) && !ranges.length) return null;
	const owners = new Int32Array(content.length).fill(-1);
	const differs = new Uint8Array(content.length);
	if (showsTokens) tokens.forEach(({ start, end }, i) => owners.fill(i, start, end));
	for (const [from, to] of ranges) differs.fill(1, from, to);
	const covered = showsTokens ? tokens.at(-1)?.end : 0;
	return {
		at: (place) => (owners[place] ?? -1) * 2 + (differs[place] ?? 0),
		key: (block) => `${showsTokens} ${Math.min(block.end, covered)} ${ranges.filter(([from]) => from < block.end)}`,
		draw: (text, label) => drawPiece(text, tokens, Math.floor(label / 2), label & 1),
	};
}

function drawPiece(text, tokens, i, isDifferent) {
	if (i < 0) return isDifferent ? h("mark", {}, text) : document.createTextNode(text);
	const piece = h(isDifferent ? "mark" : "span", { class: `token p${surprise(tokens[i].logprob)}` }, text);
	piece.dataset.token = i;
	return piece;
}
