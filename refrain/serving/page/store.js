/** The history: chats in this browser's IndexedDB, and as one file that can be carried elsewhere. */

const FORMAT = "refrain-chats";
let opening = null;

/** Every chat, the newest first. */
export async function listChats() {
  const chats = await act("readonly", (store) => store.getAll());
  return chats.sort((one, other) => other.updated - one.updated);
}

export const saveChat = (chat) => act("readwrite", (store) => store.put(structuredClone(chat)));

export const deleteChat = (id) => act("readwrite", (store) => store.delete(id));

export const deleteAllChats = () => act("readwrite", (store) => store.clear());

/** Everything that is kept, with settings, times and seeds, as text. */
export async function exportChats() {
  return JSON.stringify({ format: FORMAT, version: 1, exported: new Date().toISOString(), chats: await listChats() }, null, 1);
}

/** Take in the chats of an exported file; of one that is here already the newer stays. How many were taken. */
export async function importChats(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new Error(`the file is not JSON (${error.message}); choose one that "Export all" has written`);
  }
  if (content?.format !== FORMAT || !Array.isArray(content.chats) || !content.chats.every(isChat))
    throw new Error(`the file holds no chats of this page; choose one that "Export all" has written`);
  const here = new Map((await listChats()).map((chat) => [chat.id, chat.updated]));
  const newer = content.chats.filter((chat) => !(here.get(chat.id) >= chat.updated));
  for (const chat of newer) await saveChat(chat);
  return newer.length;
}

/** Whether a chat can be shown: every turn has a text and stands below another of the same chat. */
function isChat(chat) {
  const isTurn = (turn) =>
    turn.role === "user" ? typeof turn.content === "string"
    : turn.role === "assistant" && typeof turn.reply?.content === "string" && Array.isArray(turn.reply.tokens);
  return Boolean(chat && typeof chat.id === "string" && typeof chat.title === "string" && chat.chosen && chat.turns) &&
    Object.entries(chat.turns).every(([id, turn]) => turn.id === id && (turn.parent === "" || turn.parent in chat.turns) && isTurn(turn));
}

/** Whether all words stand somewhere in a chat. */
export function matches(chat, query) {
  const turns = Object.values(chat.turns).map((turn) => `${turn.content ?? ""} ${turn.reply?.content ?? ""} ${turn.beside?.content ?? ""}`);
  const text = [chat.title, ...turns].join(" ").toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("refrain", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("chats", { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new Error(`this browser keeps no history here (${request.error.message})`));
  });
  return opening;
}

async function act(mode, begin) {
  const request = begin((await open()).transaction("chats", mode).objectStore("chats"));
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
