/**
 * What the drawings of every kind share: the problem, the comment, the ways to leave, the footer, the banners.
 *
 * A kind extends View: it calls `lay(content)` in its constructor and adds `drawParts(judgement)`, which touches
 * only what changed, `focus()`, and, where it shows evidence after the answer, `uncover(judgement)`.
 */

import { button, key, make } from "./elements.js";
import { draw } from "./text.js";

const LINES = 140;
const NOTES = {
  practice: "Practice: nothing is stored as a label, and the known answer is shown after yours.",
  calibration: "Calibration: everybody answers this one; it is talked over afterwards.",
  entry: "Entry test: its answer is known, and opens the project.",
  relabel: "You answered this under older guidelines: judge it anew.",
};

export class View {
  /**
   * @param {object} task
   * @param {(action: string, detail?: any) => void} act what a click or a typed comment asks for
   * @param {import("../keys.js").Keys} keys
   */
  constructor(task, act, keys) {
    this.task = task;
    this.act = act;
    this.keys = keys;
    this.isAnswered = false;
    this.mathMode = task.project.math_mode;
  }

  /** Draws model text as this project's is drawn. */
  text(name, text, options) {
    const element = make(name);
    draw(element, text, this.mathMode, options);
    return element;
  }

  /** A key as it is set now. */
  key(action) {
    return key(this.keys.sign(action));
  }

  /** A quiet button with its key. */
  quiet(action, text) {
    return button("sm-quiet", { onclick: () => this.act(action), "data-act": action }, text, this.key(action));
  }

  /** Lays the page out: the problem at the side, the kind's content beside it, its tools in the footer. */
  lay(content, { side = [], tools = [], isWide = false } = {}) {
    this.comment = make("textarea.sm-input", {
      rows: 2,
      maxlength: 5000,
      placeholder: "Comment (optional)",
      "aria-label": "Comment",
      oninput: (event) => this.act("commented", event.target.value),
    });
    this.message = make("span.sm-message", { role: "status" });
    this.submitWord = make("span", { text: "Submit" });
    this.submitButton = button("sm-primary.sm-submit", { onclick: () => this.act("submit") }, this.submitWord, this.key("submit"));
    this.banners = make("div.sm-banners");
    this.actions = make("div.sm-row.sm-actions", {}, this.quiet("undo", "Undo"), ...tools, this.submitButton);
    this.map = make("div.sm-map");
    this.footer = make("footer.sm-footer", {}, this.map, this.message, this.actions);
    const extras = make(
      "section.sm-extras",
      { "aria-label": "Comment, and leaving the task" },
      this.comment,
      make("div.sm-leave", {}, this.quiet("skip", "Skip"), this.quiet("giveUp", "Give up"), this.quiet("badProblem", "Bad problem")),
    );
    this.side = make("div.sm-side", {}, this.#problem(), ...side, extras);
    this.grid = make(`div.sm-grid${isWide ? ".sm-grid-wide" : ""}`, {}, this.side, content);
    this.element = make(`div.sm-sheet.sm-sheet-${this.task.kind}`, {}, this.banners, this.grid, this.footer);
    if (this.task.note) this.banner("Sent back by a reviewer: ", this.text("span.sm-text", this.task.note));
    if (NOTES[this.task.purpose]) this.banner(NOTES[this.task.purpose]);
  }

  #problem() {
    const { task } = this;
    const reference =
      task.reference_answer === null
        ? make("div.sm-reference", {}, make("span.sm-hint", { text: "none given" }))
        : this.text("div.sm-text.sm-reference", task.reference_answer);
    return make(
      "section.sm-problem",
      { "aria-label": "Problem" },
      make("div.sm-row", {}, make("h2.sm-eyebrow", { text: "Problem" }), task.source ? make("span.sm-source", { text: task.source }) : null),
      this.text("div.sm-text.sm-statement", task.statement),
      make("div.sm-rule-line"),
      make("h2.sm-eyebrow", { text: "Reference answer" }),
      reference,
    );
  }

  /** A line above the task. */
  banner(...children) {
    const banner = make("div.sm-banner", {}, make("span", {}, ...children));
    this.banners.append(banner);
    return banner;
  }

  /** Brings the drawing up to date. */
  update(judgement, { isFocused = true } = {}) {
    this.drawParts(judgement);
    if (this.comment.value !== judgement.comment) this.comment.value = judgement.comment;
    const { missing } = judgement;
    if (!this.isAnswered) {
      this.submitButton.setAttribute("aria-disabled", String(missing !== null));
      this.say(missing ?? judgement.ready, missing === null ? "is-ready" : "");
    }
    if (isFocused) this.focus(judgement);
  }

  say(text, state = "") {
    if (this.message.textContent !== text) this.message.textContent = text;
    this.message.className = `sm-message ${state}`;
  }

  /** Points at what is missing when a submit came too early. */
  refuse() {
    this.message.classList.remove("is-refused");
    void this.message.offsetWidth; // restarts the animation
    this.message.classList.add("is-refused");
  }

  /** Asks whether to submit all the same: the next submit does. */
  ask(question) {
    this.say(question, "is-question");
    this.submitButton.setAttribute("aria-disabled", "false");
  }

  /** The task is answered and sent; what is known about it now stands beside it. */
  answered(judgement) {
    this.isAnswered = true;
    this.element.classList.add("is-answered");
    this.submitWord.textContent = "Next task";
    this.submitButton.setAttribute("aria-disabled", "false");
    this.comment.disabled = true;
    this.actions.firstChild.firstChild.textContent = "Correct it";
    this.say(judgement.ready.replace(/ ?(Keep or change, then submit|Ready to submit)\./, ""), "is-ready");
    this.uncover(judgement);
  }

  /** Shows evidence and known answer; kinds say where. */
  uncover() {}

  /** Takes an action that only the drawing knows; true where it did. Where nothing is rated one by one, moving scrolls. */
  take(action) {
    if (this.task.kind === "steps" || this.task.kind === "alternatives" || !["up", "down"].includes(action)) return false;
    scroller(this.element).scrollBy({ top: action === "down" ? LINES : -LINES });
    return true;
  }

  /** The comment's field. */
  focusComment() {
    this.comment.focus();
    this.comment.scrollIntoView({ block: "nearest" });
  }

  destroy() {}
}

function scroller(element) {
  for (let parent = element.parentElement; parent; parent = parent.parentElement)
    if (parent.scrollHeight > parent.clientHeight && /auto|scroll/.test(getComputedStyle(parent).overflowY)) return parent;
  return document.scrollingElement;
}
