/**
 * The judgement of one task as plain data and rules: labels, undo, what is missing, and what is sent. No drawing.
 *
 * Labels are 1 good, 0 neutral, -1 bad, null unjudged. In first_error mode nothing after the first bad segment
 * counts: it keeps what was entered, so that an undo brings it back, but it is neither asked for nor sent.
 */

const IDLE_MS = 120_000;

export class Judgement {
  constructor(task, draft = null) {
    this.task = task;
    this.n = task.steps.length + (task.answer === null ? 0 : 1);
    this.labels = new Array(this.n).fill(null);
    this.unsure = new Set();
    this.at = 0;
    this.comment = "";
    this.durations = new Array(this.n).fill(0);
    this.past = [];
    this.corrects = null;
    this.since = null;
    if (draft && draft.labels.length === this.n) {
      this.labels = [...draft.labels];
      this.unsure = new Set(draft.unsure);
      this.at = Math.min(draft.at, this.n - 1);
      this.comment = draft.comment;
      this.durations = [...draft.durations];
      this.past = draft.past ?? [];
      this.corrects = draft.corrects ?? null;
    }
  }

  /** What is needed to go on later. */
  draft() {
    const { labels, at, comment, durations, past, corrects } = this;
    return { labels, unsure: [...this.unsure], at, comment, durations, past, corrects };
  }

  get isTouched() {
    return this.past.length > 0 || this.comment !== "";
  }

  get firstBad() {
    const index = this.labels.indexOf(-1);
    return index < 0 ? null : index;
  }

  /** Does this segment stand after the first error, in the mode where nothing there counts. */
  isAfter(index) {
    return this.task.mode === "first_error" && this.firstBad !== null && index > this.firstBad;
  }

  /** Unjudged, but held to be good because the first error stands further down. */
  isImplied(index) {
    return (
      this.task.mode === "first_error" &&
      this.firstBad !== null &&
      index < this.firstBad &&
      this.labels[index] === null
    );
  }

  label(value) {
    this.#remember();
    this.labels[this.at] = value;
    if (value === -1 && this.task.mode === "first_error") return;
    this.toUnjudged();
  }

  clear() {
    if (this.labels[this.at] === null && !this.unsure.has(this.at)) return;
    this.#remember();
    this.labels[this.at] = null;
    this.unsure.delete(this.at);
  }

  flag() {
    this.#remember();
    if (!this.unsure.delete(this.at)) this.unsure.add(this.at);
  }

  restGood() {
    const open = this.#unjudged();
    if (!open.length) return;
    this.#remember();
    for (const index of open) this.labels[index] = 1;
  }

  move(to) {
    this.tick();
    this.at = Math.max(0, Math.min(this.n - 1, to));
  }

  /** To the next unjudged segment, or, where there is none further down, to the first. */
  toUnjudged() {
    const open = this.#unjudged();
    const next = open.find((index) => index > this.at) ?? open[0];
    if (next !== undefined) this.move(next);
  }

  /** Takes the last change back; false where there is none. */
  undo() {
    const last = this.past.pop();
    if (!last) return false;
    this.tick();
    this.labels = last.labels;
    this.unsure = new Set(last.unsure);
    this.at = last.at;
    return true;
  }

  /** How many segments still want a label; 0 when the task can be submitted. */
  get nMissing() {
    if (this.task.mode === "first_error" && this.firstBad !== null) return 0;
    return this.#unjudged().length;
  }

  /** Books the time since the last call on the current segment; long pauses count as two minutes. */
  tick(isRunning = true) {
    const now = performance.now();
    if (this.since !== null) this.durations[this.at] += Math.min(now - this.since, IDLE_MS);
    this.since = isRunning ? now : null;
  }

  /** The finished work, as the server takes it. */
  submission(id, { finishReason = null, reason = null, guideline } = {}) {
    this.tick();
    const implied = this.labels.flatMap((_, index) => (this.isImplied(index) ? [index] : []));
    const labels = this.labels.map((label, index) =>
      this.isAfter(index) ? null : this.isImplied(index) && finishReason === null ? 1 : label,
    );
    return {
      submission_id: id,
      task_id: this.task.task_id,
      token: this.task.token,
      finish_reason: finishReason ?? (this.firstBad === null ? "solution" : "found_error"),
      labels,
      unsure: [...this.unsure].filter((index) => labels[index] !== null).sort((a, b) => a - b),
      step_durations_ms: this.durations.map(Math.round),
      duration_ms: Math.round(this.durations.reduce((sum, ms) => sum + ms, 0)),
      comment: this.comment.trim() || null,
      guideline,
      corrects: this.corrects,
      extra: {
        ...(implied.length && finishReason === null ? { implied_good: implied } : {}),
        ...(reason ? { reason } : {}),
      },
    };
  }

  #unjudged() {
    const open = [];
    for (let index = 0; index < this.n; index++)
      if (this.labels[index] === null && !this.isAfter(index)) open.push(index);
    return open;
  }

  #remember() {
    this.tick();
    this.past.push({ labels: [...this.labels], unsure: [...this.unsure], at: this.at });
    if (this.past.length > 200) this.past.shift();
  }
}
