/** A solution to be read, not rated. */

import { make } from "./elements.js";

const LONG_CHARS = 20_000;

/**
 * @param {import("./view.js").View} view
 * @param {string[]} steps
 * @param {string | null} answer
 * @param {object} options
 * @param {number} options.from number of the first step, less one
 * @param {(index: number) => object[]} options.marks marks in a step's text, or the answer's (`steps.length`)
 * @param {(index: number) => Node[]} options.under what stands under a step
 * @param {number | null} options.blamed a step to point at
 */
export function solutionList(view, steps, answer, { from = 0, marks = () => [], under = () => [], blamed = null } = {}) {
  const isLazy = steps.reduce((sum, text) => sum + text.length, 0) > LONG_CHARS;
  const item = (text, index, isAnswer) => {
    const number = isAnswer ? "=" : String(from + index + 1);
    const below = under(index);
    return make(
      `li.sm-read-step${isAnswer ? ".sm-answer" : ""}${index === blamed ? ".is-blamed" : ""}`,
      {},
      make("span.sm-number", { text: number, "aria-hidden": "true" }),
      make(
        "div.sm-body",
        {},
        isAnswer ? make("div.sm-eyebrow", { text: "Final answer" }) : null,
        view.text("div.sm-text", text, { marks: marks(index), isLazy }),
        below.length ? make("div.sm-under", {}, ...below) : null,
      ),
    );
  };
  return make(
    "ol.sm-read",
    { start: from + 1 },
    ...steps.map((text, index) => item(text, index, false)),
    answer === null ? null : item(answer, steps.length, true),
  );
}

/** A row of choices of which one holds; `choose(name)` is called on a click. */
export function choiceRow(view, label, choices, choose) {
  const buttons = choices.map(({ name, word, action, shape }) => {
    const choice = make(
      `button.sm-choose.sm-${shape ?? "plain"}`,
      { type: "button", "data-name": String(name), "aria-pressed": "false", onclick: () => choose(action) },
      make("span.sm-word", { text: word }),
      view.key(action),
    );
    choice.addEventListener("mousedown", (event) => event.preventDefault());
    return choice;
  });
  const row = make("div.sm-question-row", { role: "group", "aria-label": label }, make("span.sm-asked", { text: label }), make("div.sm-segmented", {}, ...buttons));
  return {
    element: row,
    buttons,
    show(value) {
      for (const choice of buttons) choice.setAttribute("aria-pressed", String(choice.dataset.name === String(value)));
    },
  };
}
