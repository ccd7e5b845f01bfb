/** Where an answer comes from: the artifact, its settings, the training rows. */

import { call } from "./api.js";
import { button, h } from "./dom.js";

const ROWS = 3; // of training that are shown
const SHOWN = ["base", "method", "data", "data_md5"];

export function buildLineage(reply, question) {
	const facts = h("dl", { class: "facts" }), training = h("div", { class: "training" }), proof = h("p", { class: "proof", role: "status" });
	const replay = button("Say it again", () => sayAgain(reply, proof), { class: "main" });
	showFacts(facts, factsOf(reply));
	fill(facts, "It knows no more of this answer", async () => showFacts(facts, factsOf(reply, await call(`v1/refrain/lineage/${reply.id}`))));
	fill(training, "Training rows", () => showTraining(training, question, reply.model));
	return h("div", { class: "lineage", role: "region", "aria-label": "Lineage" }, facts, replay, proof, training);
}

/** Let an element be filled; where that fails, the reason stands behind it. */
const fill = (element, what, act) => act().catch((error) => element.after(h("p", { class: "hint" }, `${what}: ${error.message}`)));

/** What the answer itself says, and what the server knows of its artifact. */
function factsOf({ model, refrain = {}, request }, told = {}) {
	const { model: _, logprobs, top_logprobs: __, seed, ...settings } = request;
	const asked = Object.entries(settings).map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ");
	const known = SHOWN.map((name) => [name, told[name]]);
	const { variant, seal, commit } = refrain;
	return { model, variant, seal, commit, ...Object.fromEntries(known), seed: refrain.seed ?? seed, settings: asked || "the server’s own" };
}

function showFacts(list, facts) {
	const shown = Object.entries(facts).filter(([, value]) => String(value ?? "") !== "");
	list.replaceChildren(...shown.flatMap(([name, value]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, String(value))]));
}

async function sayAgain(reply, proof) {
	proof.textContent = "…";
	proof.textContent = await call(`v1/refrain/replay/${reply.id}`, {}).then(
		({ equal, reason }) => (equal ? "The same again, byte for byte." : `Not the same: ${reason ?? "the texts differ"}.`),
		(error) => `It cannot be said again: ${error.message}`,
	);
}

async function showTraining(element, text, model) {
	const { asked_in: asked, nearest } = await call("v1/refrain/training-rows", { text, model, limit: ROWS });
	const learned = asked?.split === "train";
	const known = asked ? `This question was ${learned ? "in training" : `held out, in ${asked.split}`}: ${asked.id}.` : "This question is not in the data.";
	const rows = nearest.map((row) => h("li", {},
		h("p", { class: "row-question" }, row.question), h("p", {}, row.answer),
		h("p", { class: "hint" }, `${row.split} · ${row.id} · ${row.match === "same" ? "the same" : `${Math.round(row.score * 100)} % alike`}`)));
	element.replaceChildren(h("p", { class: learned && "in-training" }, known), h("ol", {}, ...rows));
}
