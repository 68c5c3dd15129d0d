/** The judgement of a critique: is it right, is its verdict right, would it help; and the critique as it should read. */

import { Judgement } from "../judgement.js";

const JUDGEMENTS = ["wrong", "partly", "right"];
const ANSWERS = {
  verdictWrong: ["isVerdictRight", false, "Its verdict is wrong."],
  verdictRight: ["isVerdictRight", true, "Its verdict is right."],
  helpsNot: ["isHelpful", false, "It would not help."],
  helps: ["isHelpful", true, "It would help."],
};

export class CritiqueJudgement extends Judgement {
  constructor(task, draft = null) {
    super(task);
    this.judgement = null;
    this.isHelpful = null;
    this.isVerdictRight = null;
    /** The critique as it should read; null where it was left alone. */
    this.correction = null;
    this.isTyping = false;
    this.restore(draft);
  }

  get announcement() {
    return "a critique of a solution: is it right.";
  }

  get hasVerdict() {
    return ["pass", "fail"].includes(this.task.critique.verdict);
  }

  act(action, detail) {
    if (JUDGEMENTS.includes(action)) return this.#set("judgement", action, `The critique is ${action}.`);
    if (action in ANSWERS) {
      const [name, value, said] = ANSWERS[action];
      if (name === "isVerdictRight" && !this.hasVerdict) return "It has no verdict that can be read.";
      return this.#set(name, this[name] === value ? null : value, said);
    }
    return action === "corrected" ? this.#correct(detail) : undefined;
  }

  #set(name, value, said) {
    if (this[name] === value) return undefined;
    this.remember();
    this.isTyping = false;
    this[name] = value;
    return said;
  }

  /** Typing on is one change. */
  #correct(text) {
    const words = text.trim();
    const correction = words && words !== this.task.critique.text.trim() ? text : null;
    if (correction === this.correction) return undefined;
    if (!this.isTyping) this.remember();
    this.isTyping = true;
    this.correction = correction;
    return "";
  }

  undo() {
    this.isTyping = false;
    return super.undo();
  }

  get missing() {
    return this.judgement === null ? "Is the critique right?" : null;
  }

  get ready() {
    const open = [this.hasVerdict && this.isVerdictRight === null && "its verdict", this.isHelpful === null && "does it help"].filter(Boolean);
    return open.length ? `Ready to submit. Left open: ${open.join(", ")}.` : "Ready to submit.";
  }

  state() {
    const { judgement, isHelpful, isVerdictRight, correction } = this;
    return { judgement, isHelpful, isVerdictRight, correction };
  }

  setState({ judgement = null, isHelpful = null, isVerdictRight = null, correction = null }) {
    if (judgement !== null && !JUDGEMENTS.includes(judgement)) return false;
    Object.assign(this, { judgement, isHelpful, isVerdictRight, correction });
    return true;
  }

  answer(finishReason) {
    if (finishReason !== null) return { judgement: null };
    const { judgement, isHelpful, isVerdictRight, correction } = this;
    return { judgement, is_helpful: isHelpful, is_verdict_right: isVerdictRight, correction: correction?.trim() ?? null };
  }
}
