/**
 * What judgements of every kind share: time, comment, undo, drafts, doubts, and the frame of what is sent. No drawing.
 *
 * A kind adds `state()` and `setState()` (plain data, for drafts and undo), `act()` (what its keys and buttons do),
 * `missing` and `ready` (the sentences in the footer), and `answer()` (its part of the submission).
 */

const IDLE_MS = 120_000;
const PAST = 100;

export class Judgement {
  constructor(task) {
    this.task = task;
    this.comment = "";
    this.past = [];
    this.corrects = null;
    /** Questions that were asked once and need no second asking. */
    this.asked = new Set();
    /** Was a model's opinion on screen before the answer. */
    this.suggestionShown = task.evidence !== null && task.evidence_before;
    this.durations = {};
    this.since = null;
  }

  /** Takes a draft up, where it is one of this kind and fits the task. */
  restore(draft) {
    if (!draft || (draft.kind ?? "steps") !== this.kind || !this.setState(draft.state ?? draft)) return;
    this.comment = draft.comment ?? "";
    this.past = draft.past ?? [];
    this.corrects = draft.corrects ?? null;
    this.asked = new Set(draft.asked ?? []);
    this.suggestionShown ||= Boolean(draft.suggestionShown);
    this.durations = Array.isArray(draft.durations) ? { ...draft.durations } : (draft.durations ?? {});
  }

  /** What is needed to go on later. */
  draft() {
    const { kind, comment, durations, past, corrects, suggestionShown } = this;
    return { kind, state: this.state(), comment, durations, past, corrects, asked: [...this.asked], suggestionShown };
  }

  get kind() {
    return this.task.kind;
  }

  get isTouched() {
    return this.past.length > 0 || this.comment !== "";
  }

  /** What the time that passes is booked on. */
  get spot() {
    return 0;
  }

  /** What a screen reader says when the task appears. */
  get announcement() {
    return "";
  }

  /** How many things were judged, for the check of haste. */
  get nJudged() {
    return 1;
  }

  get duration() {
    return Object.values(this.durations).reduce((sum, ms) => sum + ms, 0);
  }

  /** Books the time since the last call; long pauses count as two minutes. */
  tick(isRunning = true) {
    const now = performance.now();
    if (this.since !== null)
      this.durations[this.spot] = (this.durations[this.spot] ?? 0) + Math.min(now - this.since, IDLE_MS);
    this.since = isRunning ? now : null;
  }

  remember(entry = this.state()) {
    this.tick();
    this.past.push(entry);
    if (this.past.length > PAST) this.past.shift();
  }

  /** Takes the last change back; false where there is none. */
  undo() {
    const last = this.past.pop();
    if (!last) return false;
    this.tick();
    this.setState(last);
    return true;
  }

  /** Can it be submitted as it is. */
  get isReady() {
    return this.missing === null;
  }

  /** Something is shown before the answer is final: true where a submit only uncovered it. */
  reveal() {
    return false;
  }

  /** What looks odd about the answer, as questions. */
  doubts() {
    this.tick();
    const { min_ms_per_step: least } = this.task.project;
    const seconds = Math.max(1, Math.round(this.duration / 1000));
    const isFast = this.duration < least * this.nJudged;
    return isFast ? [{ check: "too_fast", text: `That took ${seconds} s. Submit anyway?` }] : [];
  }

  /** The first question that was not asked yet, asked now; null where there is none. */
  ask() {
    const doubt = this.doubts().find(({ check }) => !this.asked.has(check));
    if (!doubt) return null;
    this.asked.add(doubt.check);
    return doubt.text;
  }

  /** The finished work, as the server takes it. */
  submission(id, { finishReason = null, reason = null, guideline } = {}) {
    this.tick();
    const { extra = {}, ...answer } = this.answer(finishReason);
    return {
      submission_id: id,
      task_id: this.task.task_id,
      token: this.task.token,
      finish_reason: finishReason ?? "solution",
      duration_ms: Math.round(this.duration),
      comment: this.comment.trim() || null,
      guideline,
      corrects: this.corrects,
      ...(this.suggestionShown ? { suggestion_shown: true } : {}),
      ...answer,
      extra: { ...extra, ...(reason ? { reason } : {}) },
    };
  }
}
