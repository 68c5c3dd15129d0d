/**
 * The judgement of candidates for the next step: the solution's own and the alternatives, each rated; which one to go
 * on from; or one written where none is good. The steps before are only read.
 */

import { StepsJudgement } from "../steps/judgement.js";

export class AlternativesJudgement extends StepsJudgement {
  constructor(task, draft = null) {
    super(task);
    this.choices = this.choices.filter(({ isRepaired }) => !isRepaired); // no later step could mend a candidate
    /** Index of the candidate to go on from, "own" for the written one, or null. */
    this.chosen = null;
    this.own = "";
    this.restore(draft);
  }

  get candidates() {
    const { steps, step_index: index, alternatives } = this.task;
    return [{ alternative_id: null, text: steps[index], is_answer: false }, ...(alternatives ?? [])];
  }

  firstCells() {
    const empty = { parts: null, label: null, isUnsure: false, isRepaired: false, written: null };
    return this.candidates.map((_, id) => ({ id, ...empty }));
  }

  get announcement() {
    return `step ${this.task.step_index + 1}, ${this.n} candidates, rate each.`;
  }

  isAnswer(index) {
    return this.candidates[index].is_answer;
  }

  textAt(index) {
    return this.candidates[index].text;
  }

  nameAt(index) {
    return `Candidate ${index + 1}`;
  }

  segments() {
    return null;
  }

  get isTouched() {
    return super.isTouched || this.own !== "";
  }

  act(action, detail) {
    switch (action) {
      case "choose":
        return this.#choose(this.at);
      case "chooseAt":
        this.move(detail);
        return this.#choose(detail);
      case "chooseOwn":
        return this.#setOwn({ chosen: this.chosen === "own" ? null : "own" });
      case "own":
        return this.#write(detail);
      case "split":
      case "merge":
      case "written":
        return undefined;
      default: {
        const said = super.act(action, detail);
        // What is bad cannot be gone on from.
        if (typeof this.chosen === "number" && this.cells[this.chosen].label === -1) this.chosen = null;
        return said;
      }
    }
  }

  #choose(index) {
    if (this.cells[index].label === -1) return "A bad step cannot be gone on from.";
    const chosen = this.chosen === index ? null : index;
    this.changeFields({ chosen });
    return chosen === null ? "None chosen." : `Go on from candidate ${index + 1}.`;
  }

  #setOwn(fields) {
    this.changeFields(fields);
    return "";
  }

  /** Typing on is one change. */
  #write(text) {
    if (text === this.own) return undefined;
    const chosen = text.trim() ? "own" : this.chosen === "own" ? null : this.chosen;
    if (this.past.at(-1)?.typing === "own") Object.assign(this, { own: text, chosen });
    else this.changeFields({ own: text, chosen }, "own");
    return "";
  }

  get missing() {
    const { length } = this.unjudged();
    if (length) return `Rate every candidate: ${length === 1 ? "1" : length} left`;
    const hasGood = this.cells.some(({ label }) => label === 1);
    return hasGood && this.chosen === null ? "Choose the one to go on from" : null;
  }

  get ready() {
    if (this.chosen === null) return "None is good. Write one, or submit.";
    return this.chosen === "own" ? "Go on from your own step. Ready to submit." : `Go on from candidate ${this.chosen + 1}. Ready to submit.`;
  }

  state() {
    const { at, cells, chosen, own } = this;
    return {
      at,
      chosen,
      own,
      labels: cells.map(({ label }) => label),
      unsure: cells.flatMap(({ isUnsure }, index) => (isUnsure ? [index] : [])),
    };
  }

  setState(state) {
    if (!super.setState({ ...state, segments: null })) return false;
    this.chosen = state.chosen ?? null;
    this.own = state.own ?? "";
    return true;
  }

  doubts() {
    return super.doubts().filter(({ check }) => check === "too_fast");
  }

  answer() {
    const { steps, answer, step_index: index } = this.task;
    const labels = new Array(steps.length + (answer === null ? 0 : 1)).fill(null);
    labels[index] = this.cells[0].label;
    const rated = this.candidates.flatMap(({ alternative_id: id }, place) =>
      id === null || this.cells[place].label === null ? [] : [[id, this.cells[place].label]],
    );
    const unsure = this.candidates.flatMap(({ alternative_id: id }, place) => (id !== null && this.cells[place].isUnsure ? [id] : []));
    const own = this.own.trim();
    const isSolutions = this.chosen === 0;
    const durations = labels.map((_, place) => (place === index ? Math.round(this.duration) : 0));
    return {
      labels,
      unsure: this.cells[0].isUnsure && labels[index] !== null ? [index] : [],
      step_durations_ms: durations,
      alternatives: Object.fromEntries(rated),
      chosen: this.chosen === "own" ? (own ? "own" : null) : this.chosen === null || isSolutions ? null : this.candidates[this.chosen].alternative_id,
      ...(own ? { written: { [index]: own } } : {}),
      extra: { ...(isSolutions ? { chosen: "solution" } : {}), ...(unsure.length ? { unsure_alternatives: unsure } : {}) },
    };
  }
}
