/** Cards of things that are rated one by one: a step, a final answer, a candidate for the next step. */

import { make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { nameOf } from "./judgement.js";

/** The controls of a card; they are made once and copied, and clicks are heard by the list (`data-do`). */
export function controlsTemplate(choices, keys) {
  const buttons = choices.map(({ name, word }) =>
    make(
      `button.sm-choose.sm-${name}`,
      { type: "button", "data-do": "labelAt", "data-name": name, "aria-pressed": "false", "aria-label": `${word}, key ${keys.sign(name)}` },
      icon(name),
      make("span.sm-word", { text: word }),
      make("kbd", { text: keys.sign(name), "aria-hidden": "true" }),
    ),
  );
  const unsure = make(
    "button.sm-unsure",
    { type: "button", "data-do": "flagAt", "aria-pressed": "false", "aria-label": `Unsure, key ${keys.sign("flag")}`, title: "Unsure" },
    make("span.sm-question", { text: "?", "aria-hidden": "true" }),
    make("kbd", { text: keys.sign("flag"), "aria-hidden": "true" }),
  );
  return make("div.sm-controls", {}, make("div.sm-segmented", { role: "group" }, ...buttons), unsure);
}

const STATE = ["label", "isCurrent", "isAfter", "isImplied", "isUnsure", "isRepaired", "name"];

export class Card {
  /**
   * @param {object} parts
   * @param {string} parts.number what stands at its left
   * @param {HTMLElement} parts.body its text
   * @param {HTMLElement} parts.controls
   * @param {string | null} parts.eyebrow a word above the text
   * @param {string} parts.variety a class of its own
   */
  constructor({ number, body, controls, eyebrow = null, variety = "" }) {
    this.body = body;
    this.number = make("div.sm-number", { text: number, "aria-hidden": "true" });
    this.inside = make("div.sm-body", {}, eyebrow && make("div.sm-eyebrow", { text: eyebrow }), body);
    this.controls = controls;
    this.choices = [...controls.querySelectorAll(".sm-choose")];
    this.unsure = controls.querySelector(".sm-unsure");
    this.element = make(`article.sm-card${variety}`, { role: "group", tabindex: -1 }, this.number, this.inside, controls);
    this.drawn = null;
  }

  /** Shows a state; only what changed is touched. */
  show(state) {
    const { drawn } = this;
    if (drawn && STATE.every((name) => drawn[name] === state[name])) return false;
    this.drawn = state;
    const { name, label, isRepaired, isAfter, isImplied, isUnsure, isCurrent } = state;
    const shown = isAfter ? "none" : nameOf(label, isRepaired);
    const { element } = this;
    element.dataset.label = shown;
    element.classList.toggle("is-current", isCurrent);
    element.classList.toggle("is-after", isAfter);
    element.classList.toggle("is-implied", isImplied);
    element.classList.toggle("is-unsure", isUnsure && !isAfter);
    element.tabIndex = isCurrent ? 0 : -1;
    const said = isAfter
      ? "after the first error"
      : isImplied
        ? "good, because the first error is below"
        : shown === "none"
          ? "not judged"
          : shown;
    element.setAttribute("aria-label", `${name}: ${said}${isUnsure ? ", unsure" : ""}`);
    if (isCurrent) element.setAttribute("aria-current", "step");
    else element.removeAttribute("aria-current");
    for (const choice of this.choices) choice.setAttribute("aria-pressed", String(choice.dataset.name === shown));
    this.unsure.setAttribute("aria-pressed", String(isUnsure && !isAfter));
    return true;
  }
}

/** A field in a card: what is typed goes to `typed` at once. */
export function editor({ label, text, typed, remove, close, isFixed = false }) {
  const area = make("textarea.sm-input.sm-write", { "aria-label": label, rows: Math.min(8, 2 + text.split("\n").length), maxlength: 20_000 });
  area.value = text;
  area.dir = "auto";
  if (isFixed) {
    area.addEventListener("beforeinput", (event) => event.preventDefault()); // the caret moves, the text does not change
    area.inputMode = "none";
  } else area.addEventListener("input", () => typed(area.value));
  const done = make("button.sm-primary.sm-small", { type: "button", onclick: () => close(area) }, isFixed ? "Split here" : "Done", make("kbd", { text: isFixed ? "⏎" : "Esc", "aria-hidden": "true" }));
  const drop = make("button.sm-quiet", { type: "button", onclick: remove }, isFixed ? "Cancel" : "Take it back", isFixed ? make("kbd", { text: "Esc", "aria-hidden": "true" }) : null);
  area.addEventListener("keydown", (event) => {
    const isEnd = isFixed ? event.key === "Enter" : event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey));
    if (isEnd) close(area);
    else if (isFixed && event.key === "Escape") remove();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const element = make("div.sm-editor", {}, make("div.sm-eyebrow", { text: label }), area, make("div.sm-row", {}, done, drop));
  return { element, area };
}
