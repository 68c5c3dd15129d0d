/**
 * What must survive a reload, a crash of the server or a dead network: drafts, answers the server has not
 * acknowledged (the outbox), the last answers, for going back, and own keys. It lives in localStorage, per database and
 * annotator, and is read anew each time, because another tab may have written.
 */

const HISTORY = 10;
const DRAFTS = 50;

export class Store {
  constructor(scope) {
    this.prefix = `stepmark/${scope}/`;
    this.memory = new Map();
    /** Names of values that storage did not take: what it still holds of them is old. */
    this.unstored = new Set();
  }

  #read(name, otherwise) {
    if (this.unstored.has(name)) return this.memory.get(name);
    try {
      const text = localStorage.getItem(this.prefix + name);
      return text === null ? (this.memory.get(name) ?? otherwise) : JSON.parse(text);
    } catch {
      return this.memory.get(name) ?? otherwise;
    }
  }

  #write(name, value) {
    this.memory.set(name, value);
    try {
      localStorage.setItem(this.prefix + name, JSON.stringify(value));
      this.unstored.delete(name);
      return true;
    } catch {
      this.unstored.add(name);
      return false; // storage is full or forbidden: memory still holds it until the page closes
    }
  }

  #remove(name) {
    this.memory.delete(name);
    this.unstored.delete(name);
    try {
      localStorage.removeItem(this.prefix + name);
    } catch {
      // forbidden: nothing was written either
    }
  }

  // A draft belongs to a lease: a task of the same number in another database has another token.
  draftOf(task) {
    return this.#read(draftName(task), null);
  }

  /** Keeps a draft as later than the one it goes on from (`after`), even if that was made by a clock ahead of ours. */
  keepDraft(task, draft, after = 0) {
    const isKept = this.#write(draftName(task), { ...draft, updated_at: Math.max(Date.now(), after + 1) });
    const names = this.#read("draftNames", []);
    if (names.at(-1) === draftName(task)) return isKept;
    const all = [...names.filter((name) => name !== draftName(task)), draftName(task)];
    for (const name of all.splice(0, Math.max(0, all.length - DRAFTS))) this.#remove(name);
    this.#write("draftNames", all);
    return isKept;
  }

  dropDraft(task) {
    this.#remove(draftName(task));
    this.#write(
      "draftNames",
      this.#read("draftNames", []).filter((name) => name !== draftName(task)),
    );
  }

  /** The outbox as another tab has just written it, by the event about that; empty where it wrote something else. */
  outboxIn({ key: name, newValue }) {
    return name === `${this.prefix}outbox` && newValue ? JSON.parse(newValue) : [];
  }

  outbox() {
    return this.#read("outbox", []);
  }

  send(submission) {
    const all = [...this.outbox(), submission];
    if (this.#write("outbox", all)) return;
    this.#remove("history"); // an answer on its way is worth more than the way back
    this.#write("outbox", all);
  }

  acknowledge(ids) {
    const left = this.outbox().filter((submission) => !ids.has(submission.submission_id));
    this.#write("outbox", left);
  }

  /** Answers that the server refused: kept, so that no work vanishes. */
  setAside(submission, message) {
    this.#write("refused", [...this.#read("refused", []), { submission, message, at: Date.now() }].slice(-50));
  }

  history() {
    return this.#read("history", []);
  }

  remember(entry) {
    const others = this.history().filter((other) => other.task.task_id !== entry.task.task_id);
    // Long tasks may fill the storage: then fewer of them are kept.
    for (const n of [HISTORY, HISTORY / 2, 1]) if (this.#write("history", [...others, entry].slice(-n))) return;
  }

  forget(submissionId) {
    this.#write(
      "history",
      this.history().filter((entry) => entry.submissionId !== submissionId),
    );
  }

  /** The task number that is being corrected, so that a reload comes back to it. */
  get correcting() {
    return this.#read("correcting", null);
  }

  set correcting(taskId) {
    this.#write("correcting", taskId);
  }

  /** The annotator's own keys, by action. */
  get keys() {
    return this.#read("keys", null);
  }

  set keys(own) {
    this.#write("keys", own);
  }

  /** Are the keys as the account has them; false from a change until the server has it. */
  get isKeysSent() {
    return this.#read("isKeysSent", true);
  }

  set isKeysSent(isSent) {
    this.#write("isKeysSent", isSent);
  }
}

function draftName({ task_id: id, token }) {
  return `draft:${id}:${token}`;
}

/** A random name, also where the page is not served from a secure origin. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
