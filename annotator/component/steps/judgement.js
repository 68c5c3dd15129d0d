/**
 * The judgement of a solution's steps as plain data and rules: labels, splits, undo, what is missing, what is sent.
 *
 * A cell is a segment with its judgement; cells are never changed, only replaced, so that undo keeps the old ones.
 * Labels are 1 good, 0 neutral, -1 bad, null unjudged. Where the first error is looked for, nothing after the first
 * bad segment counts: it keeps what was entered, so that an undo brings it back, but it is neither asked for nor sent.
 */

import { Judgement } from "../judgement.js";
import { areWhole, merge, split, textOf, wholeSteps } from "./segments.js";

const EMPTY = { label: null, isUnsure: false, isRepaired: false, written: null };

/** The name of a label, which is also that of its colour and shape. */
export function nameOf(label, isRepaired = false) {
  if (isRepaired && label === -1) return "repaired";
  return { "-1": "bad", 0: "neutral", 1: "good" }[label] ?? "none";
}

/** The labels that a project offers, left to right. */
export function choicesOf(project) {
  return [
    { value: -1, name: "bad", word: "Bad" },
    ...(project.label_scheme === "good_bad" ? [] : [{ value: 0, name: "neutral", word: "Neutral" }]),
    { value: 1, name: "good", word: "Good" },
    ...(project.repaired_steps === "self_corrected"
      ? [{ value: -1, isRepaired: true, name: "repaired", word: "Repaired" }]
      : []),
  ];
}

export class StepsJudgement extends Judgement {
  constructor(task, draft = null) {
    super(task);
    this.choices = choicesOf(task.project);
    this.cells = this.firstCells();
    this.at = 0;
    /** In verify mode: one's own labels, kept when the model's were uncovered. */
    this.before = null;
    this.restore(draft);
    this.#recount();
  }

  firstCells() {
    const segments = wholeSteps(this.task.steps);
    if (this.task.answer !== null) segments.push(null); // the answer is a segment that cannot be cut
    return segments.map((parts, id) => ({ id, parts, ...EMPTY }));
  }

  get n() {
    return this.cells.length;
  }

  /** Is nothing asked for after the first error. */
  get stopsAtError() {
    return this.task.mode === "first_error" || this.task.mode === "verify";
  }

  get spot() {
    return this.cells[this.at].id;
  }

  get nJudged() {
    return Math.max(1, this.cells.filter((cell, index) => cell.label !== null && !this.isAfter(index)).length);
  }

  get announcement() {
    const { mode, steps } = this.task;
    return `${steps.length} steps, ${this.stopsAtError ? "find the first bad one" : mode === "all_steps" ? "rate every one" : "rate each"}.`;
  }

  isAnswer(index) {
    return this.cells[index].parts === null;
  }

  textAt(index) {
    const { parts } = this.cells[index];
    return parts === null ? this.task.answer : textOf(this.task.steps, parts);
  }

  nameAt(index) {
    return this.isAnswer(index) ? "Final answer" : `Step ${index + 1}`;
  }

  /** Does this segment stand after the first error, in a mode where nothing there counts. */
  isAfter(index) {
    return this.stopsAtError && this.firstBad !== null && index > this.firstBad;
  }

  /** Unjudged, but held to be good because the first error stands further down. */
  isImplied(index) {
    return this.stopsAtError && this.firstBad !== null && index < this.firstBad && this.cells[index].label === null;
  }

  /** Where steps are folded away: before it, all is judged and nothing is unsure; two steps stay for context. */
  get foldEnd() {
    const open = this.cells.findIndex(({ label, isUnsure, written }) => label === null || isUnsure || written !== null);
    const end = Math.min(this.at, open < 0 ? this.n : open, this.firstBad ?? this.n) - 2;
    return end < 3 ? 0 : end;
  }

  // ---- what keys and buttons do; returns what is said, or undefined where nothing changed -------------------

  act(action, detail) {
    switch (action) {
      case "bad":
      case "neutral":
      case "good":
      case "repaired":
        return this.#label(action);
      case "labelAt":
        this.move(detail.index);
        return this.#label(detail.name);
      case "flagAt":
        this.move(detail);
        return this.#flag();
      case "flag":
        return this.#flag();
      case "clear":
        return this.#clear();
      case "restGood":
        return this.#restGood();
      case "move":
        return this.move(detail);
      case "down":
        return this.move(this.at + 1);
      case "up":
        return this.move(this.at - 1);
      case "unjudged":
        return this.#toUnjudged();
      case "written":
        return this.#write(detail);
      case "split":
        return this.#split(detail);
      case "merge":
        return this.#merge();
      default:
        return undefined;
    }
  }

  move(to) {
    this.tick();
    this.at = Math.max(0, Math.min(this.n - 1, to));
    return "";
  }

  #label(name) {
    const choice = this.choices.find((other) => other.name === name);
    if (!choice) return `${name} is no label in this project.`;
    const said = `${this.nameAt(this.at)}: ${name}.`;
    this.#replace(this.at, { label: choice.value, isRepaired: Boolean(choice.isRepaired) });
    if (this.stopsAtError && this.firstBad === this.at) return said;
    this.#toUnjudged();
    return said;
  }

  #flag() {
    const { isUnsure } = this.cells[this.at];
    this.#replace(this.at, { isUnsure: !isUnsure });
    return `${this.nameAt(this.at)}: ${isUnsure ? "sure" : "unsure"}.`;
  }

  #clear() {
    const { label, isUnsure } = this.cells[this.at];
    if (label === null && !isUnsure) return undefined;
    this.#replace(this.at, { label: null, isUnsure: false, isRepaired: false });
    return `${this.nameAt(this.at)}: cleared.`;
  }

  #restGood() {
    const open = this.unjudged();
    if (!open.length) return undefined;
    this.#change(open.map((index) => [index, 1, [{ ...this.cells[index], label: 1 }]]));
    return `${open.length} good.`;
  }

  /** To the next unjudged segment, or, where there is none further down, to the first. */
  #toUnjudged() {
    const open = this.unjudged();
    const next = open.find((index) => index > this.at) ?? open[0];
    return next === undefined ? undefined : this.move(next);
  }

  /** A step in the place of this one; typing on is one change. */
  #write({ index, text }) {
    const words = text.trim();
    const written = words && words !== this.textAt(index).trim() ? text : null;
    const cell = { ...this.cells[index], written };
    if (cell.written === this.cells[index].written) return undefined;
    const last = this.past.at(-1);
    if (last?.typing === cell.id) this.cells[index] = cell;
    else this.#change([[index, 1, [cell]]], cell.id);
    return "";
  }

  #split({ index, at }) {
    const cell = this.cells[index];
    const halves = cell.parts && split(this.task.steps, cell.parts, at);
    if (!halves) return "Nothing would be left on one side.";
    const id = Math.max(...this.cells.map((other) => other.id), ...Object.keys(this.durations).map(Number)) + 1;
    this.#change([
      [
        index,
        1,
        [
          { ...cell, parts: halves[0] },
          { ...cell, id, parts: halves[1], written: null },
        ],
      ],
    ]);
    this.at = index;
    return `Step ${index + 1} is two steps now.`;
  }

  #merge() {
    const first = this.cells[this.at - 1];
    const second = this.cells[this.at];
    if (!first || second.parts === null) return "There is no step above to merge with.";
    const bad = [first, second].filter(({ label }) => label === -1);
    const isOpen = first.label === null || second.label === null;
    const at = this.at - 1;
    const isWritten = first.written !== null || second.written !== null;
    const written = isWritten
      ? [first.written ?? this.textAt(at), second.written ?? this.textAt(at + 1)].join("\n")
      : null;
    this.#change([
      [
        at,
        2,
        [
          {
            id: first.id,
            parts: merge(first.parts, second.parts),
            label: bad.length ? -1 : isOpen ? null : Math.min(first.label, second.label),
            isRepaired: bad.length > 0 && bad.every(({ isRepaired }) => isRepaired),
            isUnsure: first.isUnsure || second.isUnsure,
            written,
          },
        ],
      ],
    ]);
    this.at = at;
    return `Merged into step ${at + 1}.`;
  }

  // ---- change and undo: a change is a list of splices [index, number of cells replaced, new cells] ----------

  #replace(index, judged) {
    this.#change([[index, 1, [{ ...this.cells[index], ...judged }]]]);
  }

  #change(splices, typing = null) {
    const back = [];
    const { at } = this;
    this.tick();
    for (const [index, n, cells] of splices) back.unshift([index, cells.length, this.cells.splice(index, n, ...cells)]);
    this.#recount();
    this.remember({ at, back, ...(typing === null ? {} : { typing }) });
  }

  /** Changes what a kind of its own adds beside the cells. */
  changeFields(fields, typing = null) {
    const before = Object.fromEntries(Object.keys(fields).map((name) => [name, this[name]]));
    this.remember({ at: this.at, back: [], fields: before, ...(typing === null ? {} : { typing }) });
    Object.assign(this, fields);
  }

  undo() {
    const last = this.past.pop();
    if (!last) return false;
    this.tick();
    for (const [index, n, cells] of last.back) this.cells.splice(index, n, ...cells);
    Object.assign(this, last.fields);
    this.at = last.at;
    this.#recount();
    return true;
  }

  #recount() {
    const bad = this.cells.findIndex(({ label, isRepaired }) => label === -1 && !isRepaired);
    this.firstBad = bad < 0 ? null : bad;
    this.at = Math.min(this.at, this.n - 1);
  }

  // ---- drafts ---------------------------------------------------------------------------------------------

  state() {
    const { cells, at, before } = this;
    const indexes = (is) => cells.flatMap((cell, index) => (is(cell) ? [index] : []));
    return {
      at,
      before,
      labels: cells.map(({ label }) => label),
      unsure: indexes(({ isUnsure }) => isUnsure),
      repaired: indexes(({ isRepaired }) => isRepaired),
      written: Object.fromEntries(cells.flatMap(({ written }, index) => (written === null ? [] : [[index, written]]))),
      segments: this.segments() && cells.map(({ parts }) => parts),
      ids: cells.map(({ id }) => id),
    };
  }

  setState({ at = 0, before = null, labels, unsure = [], repaired = [], written = {}, segments = null, ids = null }) {
    const places = segments ?? this.firstCells().map(({ parts }) => parts);
    if (!Array.isArray(labels) || labels.length !== places.length) return false;
    this.cells = places.map((parts, index) => ({
      id: ids?.[index] ?? index,
      parts,
      label: labels[index],
      isUnsure: unsure.includes(index),
      isRepaired: repaired.includes(index),
      written: written[index] ?? null,
    }));
    this.at = at;
    this.before = before;
    this.#recount();
    return true;
  }

  /** The steps as they were split or merged, without the answer; null where they are as they came. */
  segments() {
    const parts = this.cells.flatMap((cell) => (cell.parts === null ? [] : [cell.parts]));
    return areWhole(this.task.steps, parts) ? null : parts.map((each) => textOf(this.task.steps, each));
  }

  // ---- submitting -----------------------------------------------------------------------------------------

  /** Indexes of the segments that still want a label. */
  unjudged() {
    return this.cells.flatMap(({ label }, index) => (label === null && !this.isAfter(index) ? [index] : []));
  }

  get missing() {
    if (this.stopsAtError && this.firstBad !== null) return null;
    const { length } = this.unjudged();
    if (!length) return null;
    const steps = length === 1 ? "1 step" : `${length} steps`;
    return this.stopsAtError ? `Find the first bad step, or rate all: ${steps} left` : `Rate every step: ${steps} left`;
  }

  get ready() {
    const close = this.before ? "Keep or change, then submit." : "Ready to submit.";
    if (!this.stopsAtError) return "All rated. Ready to submit.";
    if (this.firstBad === null) return `No error found. ${close}`;
    const where = this.isAnswer(this.firstBad) ? "the final answer" : `step ${this.firstBad + 1}`;
    return `First error: ${where}. ${close}`;
  }

  reveal() {
    if (this.task.mode !== "verify" || !this.task.evidence || this.before) return false;
    this.before = this.labels(null);
    this.suggestionShown = true;
    return true;
  }

  doubts() {
    const isAllGood = this.firstBad === null && this.cells.every(({ label }) => label !== null && label >= 0);
    return [
      ...super.doubts(),
      ...(isAllGood && this.task.outcome === false
        ? [{ check: "all_good_but_wrong", text: "All steps good, but the answer is wrong. Submit anyway?" }]
        : []),
    ];
  }

  /** The labels that count. */
  labels(finishReason) {
    return this.cells.map(({ label }, index) =>
      this.isAfter(index) ? null : this.isImplied(index) && finishReason === null ? 1 : label,
    );
  }

  answer(finishReason) {
    const labels = this.labels(finishReason);
    const counted = (is) => this.cells.flatMap((cell, index) => (labels[index] !== null && is(cell) ? [index] : []));
    const implied = this.cells.flatMap((_, index) => (this.isImplied(index) ? [index] : []));
    const repaired = counted(({ isRepaired }) => isRepaired);
    const segments = this.segments();
    const written = this.cells.flatMap((cell, index) =>
      cell.written === null || this.isAfter(index) ? [] : [[index, cell.written.trim()]],
    );
    return {
      finish_reason: finishReason ?? (this.firstBad === null ? "solution" : "found_error"),
      labels,
      unsure: counted(({ isUnsure }) => isUnsure),
      step_durations_ms: this.cells.map(({ id }) => Math.round(this.durations[id] ?? 0)),
      ...(repaired.length ? { repaired } : {}),
      ...(segments ? { segments } : {}),
      ...(written.length ? { written: Object.fromEntries(written) } : {}),
      extra: {
        ...(implied.length && finishReason === null ? { implied_good: implied } : {}),
        ...(this.before ? { labels_before: this.before } : {}),
      },
    };
  }
}
