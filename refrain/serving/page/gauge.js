/** How much of the context the next question takes, before it is sent; and what to leave out where it does not fit. */

import { call } from "./api.js";
import { dropOldest, nextPrompt, state } from "./conversation.js";
import { $, button, notice } from "./dom.js";
import { setting } from "./settings.js";

const PAUSE = 250; // milliseconds without typing before the server is asked
const ROOM = 16; // tokens that an answer needs at least
let timer = 0, latest = 0;

/** Measure after a pause; only what was asked last is shown. */
export function measureSoon() {
  clearTimeout(timer);
  timer = setTimeout(measure, PAUSE);
}

async function measure() {
  const mine = ++latest;
  try {
    const { count, context } = await tokenize(nextPrompt($("box").value));
    if (mine === latest) show(count, context);
  } catch {
    if (mine === latest) show(0, 0); // a server without this route, or a chat that it refuses: asking tells why
  }
}

async function tokenize(messages) {
  const model = setting("model");
  const told = await call("tokenize", { ...(model && { model }), messages });
  return { count: told.count, context: told.max_model_len };
}

function show(count, context) {
  $("gauge").hidden = !context;
  const left = context - count, { dropped } = state.chat;
  Object.assign($("gauge"), { max: context || 1, high: context * 0.9, optimum: 0, value: Math.min(count, context) });
  $("room").textContent = context ? `${number(count)} of ${number(context)} tokens` : "";
  $("composer").classList.toggle("is-full", context > 0 && left < ROOM);
  const putBack = button("Put them back", () => (dropOldest(0), notice(), measure()));
  if (context && left < ROOM) offerToDrop(left);
  else if (dropped) notice(`The oldest ${dropped} turns are left out of what is sent.`, putBack);
  else notice();
}

const number = (value) => value.toLocaleString("en");

function offerToDrop(left) {
  const why = left < 0 ? `This is ${number(-left)} tokens more than the context holds.` : "The context has no room for an answer.";
  const isLast = nextPrompt("x").filter(({ role }) => role !== "system").length < 2;
  if (isLast) return notice(`${why} Make the question shorter.`);
  notice(why, button("Leave out the oldest turns", drop));
}

/** Leave out as many pairs of turns as it takes. */
async function drop() {
  try {
    for (let dropped = state.chat.dropped; ; ) {
      const before = nextPrompt($("box").value).length;
      dropOldest((dropped += 2));
      const { count, context } = await tokenize(nextPrompt($("box").value));
      if (context - count >= ROOM || nextPrompt($("box").value).length === before) break;
    }
    await measure();
  } catch (error) {
    notice(`The oldest turns could not be measured: ${error.message}.`);
  }
  $("box").focus();
}
