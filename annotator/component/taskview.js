/** Draws one task and keeps the drawing in step with its judgement. It decides nothing. */

import { button, key, make } from "./elements.js";
import { icon } from "./icons.js";
import { draw } from "./text.js";

const CHOICES = [
  { value: -1, name: "bad", word: "Bad", key: "1" },
  { value: 0, name: "neutral", word: "Neutral", key: "2" },
  { value: 1, name: "good", word: "Good", key: "3" },
];

const MODES = {
  first_error: "Find the first bad step. What follows it needs no label.",
  all_steps: "Rate every step, also after an error.",
};

export const nameOf = (label) => CHOICES.find((choice) => choice.value === label)?.name ?? "none";

export class TaskView {
  /**
   * @param {object} task
   * @param {(action: string, detail?: any) => void} act what a click or a typed comment asks for
   * @param {"auto" | "tex" | "plain"} mathMode
   */
  constructor(task, act, mathMode = "auto") {
    this.task = task;
    const texts = [...task.steps, ...(task.answer === null ? [] : [task.answer])];
    this.cards = texts.map((text, index) => this.#card(text, index, act, mathMode));
    this.dots = texts.map((_, index) =>
      button("sm-dot", { tabindex: -1, "aria-hidden": "true", onclick: () => act("move", index) }),
    );
    this.divider = make("div.sm-divider", { text: "after the first error: no labels needed" });
    this.comment = make("textarea.sm-input", {
      rows: 2,
      maxlength: 5000,
      placeholder: "Comment (optional)",
      "aria-label": "Comment",
      oninput: (event) => act("comment", event.target.value),
    });
    this.message = make("span.sm-message", { role: "status" });
    this.submitButton = button("sm-primary.sm-submit", { onclick: () => act("submit") }, "Submit", key("⏎"));
    this.banner = make("div.sm-banner", { hidden: true });
    this.element = this.#layout(act, mathMode);
  }

  #card(text, index, act, mathMode) {
    const isAnswer = index >= this.task.steps.length;
    const body = make("div.sm-text");
    draw(body, text, mathMode);
    const choices = CHOICES.map((choice) =>
      button(
        `sm-choose.sm-${choice.name}`,
        {
          "aria-pressed": "false",
          "aria-label": `${choice.word}, key ${choice.key}`,
          onclick: () => act("labelAt", { index, value: choice.value }),
        },
        icon(choice.name),
        make("span.sm-word", { text: choice.word }),
        key(choice.key),
      ),
    );
    const unsure = button(
      "sm-unsure",
      { "aria-pressed": "false", "aria-label": "Unsure, key f", title: "Unsure", onclick: () => act("flagAt", index) },
      make("span.sm-question", { text: "?", "aria-hidden": "true" }),
      key("f"),
    );
    const card = make(
      `article.sm-card${isAnswer ? ".sm-answer" : ""}`,
      {
        role: "group",
        tabindex: -1,
        onclick: () => act("move", index),
        onfocusin: () => act("focus", index),
      },
      make("div.sm-number", { text: isAnswer ? "=" : String(index + 1), "aria-hidden": "true" }),
      make("div.sm-body", {}, isAnswer ? make("div.sm-eyebrow", { text: "Final answer" }) : null, body),
      make("div.sm-controls", {}, make("div.sm-segmented", { role: "group" }, ...choices), unsure),
    );
    return { card, choices, unsure, name: isAnswer ? "Final answer" : `Step ${index + 1}`, drawn: null };
  }

  #layout(act, mathMode) {
    const { task } = this;
    const statement = make("div.sm-text.sm-statement");
    draw(statement, task.statement, mathMode);
    const reference = make("div.sm-text.sm-reference");
    if (task.reference_answer === null) reference.append(make("span.sm-hint", { text: "none given" }));
    else draw(reference, task.reference_answer, mathMode);
    const leave = (action, text, keyName) =>
      button("sm-quiet", { onclick: () => act(action) }, text, key(keyName));
    const problem = make(
      "section.sm-problem",
      { "aria-label": "Problem" },
      make("div.sm-row", {}, make("h2.sm-eyebrow", { text: "Problem" }), task.source ? make("span.sm-source", { text: task.source }) : null),
      statement,
      make("div.sm-rule-line"),
      make("h2.sm-eyebrow", { text: "Reference answer" }),
      reference,
    );
    const extras = make(
      "section.sm-extras",
      { "aria-label": "Comment, and leaving the task" },
      this.comment,
      make("div.sm-leave", {}, leave("skip", "Skip", "s"), leave("giveUp", "Give up", "⇧X"), leave("badProblem", "Bad problem", "⇧B")),
    );
    this.list = make(
      "section.sm-steps",
      { "aria-label": "Steps of the solution" },
      make("p.sm-task", { text: MODES[task.mode] ?? "" }),
      ...this.cards.map(({ card }) => card),
    );
    const footer = make(
      "footer.sm-footer",
      {},
      make("div.sm-map", {}, ...this.dots),
      this.message,
      make(
        "div.sm-row.sm-actions",
        {},
        button("sm-quiet", { onclick: () => act("undo") }, "Undo", key("u")),
        button("sm-quiet", { onclick: () => act("restGood") }, "Rest good", key("g")),
        this.submitButton,
      ),
    );
    return make(
      "div.sm-sheet",
      {},
      this.banner,
      make("div.sm-grid", {}, make("div.sm-side", {}, problem, extras), this.list),
      footer,
    );
  }

  /** Brings the drawing up to date; only what changed is touched. */
  update(judgement, { isFocused = true } = {}) {
    this.cards.forEach((entry, index) => {
      const label = judgement.labels[index];
      const isAfter = judgement.isAfter(index);
      const isImplied = judgement.isImplied(index);
      const isUnsure = judgement.unsure.has(index);
      const isCurrent = index === judgement.at;
      const drawn = [label, isAfter, isImplied, isUnsure, isCurrent].join();
      if (entry.drawn === drawn) return;
      entry.drawn = drawn;
      const { card, choices, unsure, name } = entry;
      const shown = isAfter ? null : label;
      card.dataset.label = nameOf(shown);
      card.classList.toggle("is-current", isCurrent);
      card.classList.toggle("is-after", isAfter);
      card.classList.toggle("is-implied", isImplied);
      card.classList.toggle("is-unsure", isUnsure && !isAfter);
      card.tabIndex = isCurrent ? 0 : -1;
      const said = isAfter ? "after the first error" : isImplied ? "good, because the first error is below" : label === null ? "not judged" : nameOf(label);
      card.setAttribute("aria-label", `${name}: ${said}${isUnsure ? ", unsure" : ""}`);
      if (isCurrent) card.setAttribute("aria-current", "step");
      else card.removeAttribute("aria-current");
      choices.forEach((choice, place) => choice.setAttribute("aria-pressed", String(CHOICES[place].value === shown)));
      unsure.setAttribute("aria-pressed", String(isUnsure && !isAfter));
      const dot = this.dots[index];
      const shape = isImplied ? "good" : nameOf(shown);
      dot.className = `sm-dot sm-${shape}${isCurrent ? " is-current" : ""}${isAfter ? " is-after" : ""}${isImplied ? " is-implied" : ""}`;
      dot.replaceChildren(icon(shape));
    });
    this.#divide(judgement);
    if (this.comment.value !== judgement.comment) this.comment.value = judgement.comment;
    const missing = judgement.nMissing;
    const isReady = missing === 0;
    this.submitButton.setAttribute("aria-disabled", String(!isReady));
    this.message.textContent = sentence(judgement);
    this.message.classList.toggle("is-ready", isReady);
    this.element.dataset.isReady = String(isReady);
    if (isFocused) this.focus(judgement.at);
  }

  #divide(judgement) {
    const after = this.task.mode === "first_error" ? judgement.firstBad : null;
    if (after === null || after === judgement.n - 1) this.divider.remove();
    else if (this.cards[after].card.nextSibling !== this.divider) this.cards[after].card.after(this.divider);
  }

  focus(index) {
    const { card } = this.cards[index];
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  /** Points at what is missing when a submit came too early. */
  refuse() {
    this.message.classList.remove("is-refused");
    void this.message.offsetWidth; // restarts the animation
    this.message.classList.add("is-refused");
  }
}

function sentence(judgement) {
  const missing = judgement.nMissing;
  const steps = (count) => (count === 1 ? "1 step" : `${count} steps`);
  if (judgement.task.mode === "first_error") {
    if (judgement.firstBad !== null) {
      const where = judgement.firstBad >= judgement.task.steps.length ? "the final answer" : `step ${judgement.firstBad + 1}`;
      return `First error: ${where}. Ready to submit.`;
    }
    return missing ? `Find the first bad step, or rate all: ${steps(missing)} left` : "No error found. Ready to submit.";
  }
  return missing ? `Rate every step: ${steps(missing)} left` : "All rated. Ready to submit.";
}
