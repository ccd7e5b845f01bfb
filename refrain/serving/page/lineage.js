/** Where an answer comes from: the artifact, what decided the answer, and the rows that the model learned from. */

import { call } from "./api.js";
import { button, h } from "./dom.js";

const ROWS = 3; // of training that are shown

/** The panel for an answer; what the server tells comes into it as it comes. */
export function buildLineage(reply, question) {
  const facts = h("dl", { class: "facts" }), training = h("div", { class: "training" }), proof = h("p", { class: "proof", role: "status" });
  const panel = h("div", { class: "lineage", role: "region", "aria-label": "Lineage" }, facts, replayButton(reply, proof), proof, training);
  showFacts(facts, ownFacts(reply));
  if (reply.id)
    call(`v1/refrain/lineage/${encodeURIComponent(reply.id)}`)
      .then((told) => showFacts(facts, { ...ownFacts(reply), ...flatten(told) }))
      .catch((error) => facts.after(h("p", { class: "hint" }, `The server knows no more of it: ${error.message}`)));
  showTraining(training, question);
  return panel;
}

function ownFacts({ model, refrain = {}, request }) {
  const { model: _, logprobs, top_logprobs: __, seed, ...settings } = request;
  const asked = Object.entries(settings).map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ");
  return { model, variant: refrain.variant, seal: refrain.seal, commit: refrain.commit, seed: refrain.seed ?? seed, settings: asked || "the server’s own" };
}

/** Nested facts side by side, by their last name; what is empty left out. */
function flatten(told) {
  const flat = {};
  for (const [name, value] of Object.entries(told)) {
    if (value === null || value === "" || ["id", "object", "created", "request", "text", "texts"].includes(name)) continue;
    if (typeof value === "object" && !Array.isArray(value)) Object.assign(flat, flatten(value));
    else flat[name] = value;
  }
  return flat;
}

function showFacts(list, facts) {
  const shown = Object.entries(facts).filter(([, value]) => value !== undefined && value !== null && String(value) !== "");
  list.replaceChildren(...shown.flatMap(([name, value]) => [
    h("dt", {}, name.replaceAll("_", " ")),
    h("dd", {}, Array.isArray(value) ? value.join(", ") : String(value)),
  ]));
}

function replayButton(reply, proof) {
  const replay = async () => {
    proof.textContent = "Saying it again …";
    try {
      const { equal, reason } = await call(`v1/refrain/replay/${encodeURIComponent(reply.id)}`, {});
      proof.textContent = equal ? "The same again, byte for byte." : `Not the same: ${reason ?? "the texts differ"}.`;
    } catch (error) {
      proof.textContent = `It cannot be said again: ${error.message}`;
    }
  };
  return button("Say it again", replay, { class: "replay", disabled: !reply.id });
}

async function showTraining(element, question) {
  element.textContent = "Looking through the training rows …";
  try {
    const { asked_in: asked, nearest } = await call("v1/refrain/training-rows", { text: question, limit: ROWS });
    const known = asked ? `This question was in ${asked.split}: ${asked.id}.` : "This question was in no split of the data.";
    const rows = nearest.map((row) => h("li", {},
      h("p", { class: "row-question" }, row.question), h("p", {}, row.answer),
      h("p", { class: "hint" }, `${row.split} · ${row.id} · ${Math.round(row.score * 100)} % alike`)));
    element.replaceChildren(h("p", { class: asked?.split === "train" ? "asked in-training" : "asked" }, known),
      rows.length ? h("ol", {}, ...rows) : h("p", { class: "hint" }, "No row is like it."));
  } catch (error) {
    element.replaceChildren(h("p", { class: "hint" }, `Training rows: ${error.message}`));
  }
}
