/**
 * What must survive a reload, a crash of the server or a dead network: drafts, answers the server has not
 * acknowledged (the outbox), and the last answers, for going back. It lives in localStorage, per database and
 * annotator, and is read anew each time, because another tab may have written.
 */

const HISTORY = 10;
const DRAFTS = 50;

export class Store {
  constructor(scope) {
    this.prefix = `stepmark/${scope}/`;
    this.memory = new Map();
  }

  #read(name, otherwise) {
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
      return true;
    } catch {
      return false; // storage is full or forbidden: memory still holds it until the page closes
    }
  }

  // A draft belongs to a lease: a task of the same number in another database has another token.
  draftOf(task) {
    return this.#read("drafts", {})[`${task.task_id}:${task.token}`]?.draft ?? null;
  }

  keepDraft(task, draft) {
    const drafts = this.#read("drafts", {});
    drafts[`${task.task_id}:${task.token}`] = { draft, at: Date.now() };
    const oldest = Object.entries(drafts).sort((a, b) => a[1].at - b[1].at);
    for (const [key] of oldest.slice(0, Math.max(0, oldest.length - DRAFTS))) delete drafts[key];
    return this.#write("drafts", drafts);
  }

  dropDraft(task) {
    const drafts = this.#read("drafts", {});
    delete drafts[`${task.task_id}:${task.token}`];
    this.#write("drafts", drafts);
  }

  outbox() {
    return this.#read("outbox", []);
  }

  send(submission) {
    this.#write("outbox", [...this.outbox(), submission]);
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
    this.#write("history", [...others, entry].slice(-HISTORY));
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
}

/** A random name, also where the page is not served from a secure origin. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
