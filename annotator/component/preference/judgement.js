/** The judgement of a pair: which side is better, by how much, and why. Sides are those of the screen. */

import { Judgement } from "../judgement.js";

export const CHOICES = ["first", "second", "equal", "both_bad"];
const ACTIONS = { first: "first", second: "second", equal: "equal", bothBad: "both_bad" };
const STRENGTHS = { slightly: 1, clearly: 2, far: 3 };
const WORDS = { first: "A is better", second: "B is better", equal: "equally good", both_bad: "both bad" };
const STRENGTH_WORDS = ["", "slightly", "clearly", "far"];

export class PreferenceJudgement extends Judgement {
  constructor(task, draft = null) {
    super(task);
    this.choice = null;
    this.strength = null;
    this.reasons = [];
    this.restore(draft);
  }

  get announcement() {
    return "two solutions, A and B: which one is better.";
  }

  /** Is it asked how much better the chosen one is. */
  get asksStrength() {
    return this.task.project.asks_strength && (this.choice === "first" || this.choice === "second");
  }

  act(action, detail) {
    if (action in ACTIONS) return this.#choose(ACTIONS[action]);
    if (action in STRENGTHS) return this.#weigh(STRENGTHS[action]);
    if (action === "reason") return this.#reason(detail);
    const place = /^reason([1-5])$/.exec(action);
    const reason = place && this.task.project.pair_reasons[Number(place[1]) - 1];
    return reason ? this.#reason(reason) : undefined;
  }

  #choose(choice) {
    if (choice === this.choice) return undefined;
    this.remember();
    this.choice = choice;
    if (!this.asksStrength) this.strength = null;
    return `${WORDS[choice]}.`;
  }

  #weigh(strength) {
    if (!this.asksStrength) return this.task.project.asks_strength ? "Choose A or B first." : undefined;
    if (strength === this.strength) return undefined;
    this.remember();
    this.strength = strength;
    return `${STRENGTH_WORDS[strength]} better.`;
  }

  #reason(reason) {
    this.remember();
    const isSet = this.reasons.includes(reason);
    this.reasons = isSet ? this.reasons.filter((other) => other !== reason) : [...this.reasons, reason];
    return `${reason}: ${isSet ? "off" : "on"}.`;
  }

  get missing() {
    if (this.choice === null) return "Which one is better?";
    return this.asksStrength && this.strength === null ? "How much better?" : null;
  }

  get ready() {
    const how = this.strength === null ? "" : `${STRENGTH_WORDS[this.strength]} `;
    const words = WORDS[this.choice].replace("is better", `is ${how}better`);
    return `${words[0].toUpperCase()}${words.slice(1)}. Ready to submit.`;
  }

  state() {
    const { choice, strength, reasons } = this;
    return { choice, strength, reasons: [...reasons] };
  }

  setState({ choice, strength, reasons }) {
    if (choice !== null && !CHOICES.includes(choice)) return false;
    this.choice = choice;
    this.strength = strength ?? null;
    this.reasons = reasons ?? [];
    return true;
  }

  doubts() {
    const { first, second } = this.task;
    const isWorse = (chosen, other) => chosen.outcome === false && other.outcome === true;
    const isOdd = (this.choice === "first" && isWorse(first, second)) || (this.choice === "second" && isWorse(second, first));
    return [
      ...super.doubts(),
      ...(isOdd ? [{ check: "wrong_preferred", text: "Its answer is wrong, the other's is right. Submit anyway?" }] : []),
    ];
  }

  answer(finishReason) {
    const { choice, strength, reasons } = this;
    return finishReason === null ? { choice, strength, reasons } : {};
  }
}
