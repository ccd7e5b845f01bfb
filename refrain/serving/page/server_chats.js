/** The chats that the server keeps, where it was started with --sessions. */

import { call } from "./api.js";

const PATH = "v1/refrain/sessions";
let keeps;

const serverKeeps = () => (keeps ??= call(PATH).then(() => true, () => false));

/** PUT or DELETE a chat, or all of them for no id. */
export async function sendChat(method, id = "", chat = undefined) {
	if (!(await serverKeeps())) return;
	await call(`${PATH}${id && `/${id}`}`, chat, { method }).catch((error) => {
		if (error.status !== 404) throw error; // it is gone already
	});
}

/** The chats that are newer there than by these times, or are not here at all. */
export async function fetchChats(times) {
	if (!(await serverKeeps())) return [];
	const { data } = await call(`${PATH}?limit=1000`);
	const newer = data.filter(({ kind, id, updated }) => kind === "chat" && !(times.get(id) / 1000 + 5 > updated));
	return Promise.all(newer.map(({ id }) => call(`${PATH}/${id}`)));
}
