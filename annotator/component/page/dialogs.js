/** Dialogs, and the one that asks for the reason for leaving a task. While one is open it has all keys. */

import { button, key, make } from "./elements.js";

export const LEAVING = {
  skipped: {
    title: "Skip this task",
    confirm: "Skip",
    hint: "Somebody else will get it; you will not see it again.",
    reasons: ["I do not know this subject well enough", "Too long for now"],
  },
  give_up: {
    title: "Give up on this task",
    confirm: "Give up",
    hint: "After two or three minutes without an idea. Labels you have made are kept; somebody else will get it.",
    reasons: ["No idea how to check it", "I would need paper or a computer", "The solution cannot be followed"],
  },
  bad_problem: {
    title: "The problem is broken",
    confirm: "Report",
    hint: "Not when it is merely hard: only when the statement or the reference answer cannot be right.",
    reasons: ["The statement lacks something or contradicts itself", "The reference answer is wrong", "Not a problem at all"],
  },
};

/** Asks why; calls `done(reason)` with the chosen or written words, and nothing when it is closed. */
export function askReason(root, kind, done) {
  const { title, confirm, hint, reasons } = LEAVING[kind];
  const own = make("input.sm-input", { type: "text", placeholder: "or in your own words", "aria-label": "Own words", maxlength: 500 });
  const finish = (reason) => {
    dialog.close();
    dialog.remove(); // at once: its event comes later, and the next task's dialog may be asked for before
    done(reason);
  };
  const choices = reasons.map((reason, index) =>
    make("button.sm-choice", { type: "button", onclick: () => finish(reason) }, key(String(index + 1)), make("span", { text: reason })),
  );
  const dialog = open(root, title, [
    make("p.sm-hint", { text: hint }),
    make("div.sm-choices", {}, ...choices),
    own,
    make(
      "div.sm-row.sm-end",
      {},
      make("button.sm-quiet", { type: "button", onclick: () => dialog.close() }, "Cancel", key("Esc")),
      make("button.sm-primary", { type: "button", onclick: () => takeOwn() }, confirm, key("⏎")),
    ),
  ]);
  const takeOwn = () => {
    const words = own.value.trim();
    if (words) finish(words);
    else own.focus();
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === own) {
      event.preventDefault();
      takeOwn();
    } else if (event.target !== own && /^[1-9]$/.test(event.key) && reasons[Number(event.key) - 1]) {
      event.preventDefault();
      finish(reasons[Number(event.key) - 1]);
    }
  });
  choices[0].focus();
}

/** Opens a dialog; it is gone when it is closed. */
export function open(root, title, children) {
  const before = root.getRootNode().activeElement;
  const close = button("sm-close", { "aria-label": "Close", onclick: () => dialog.close() }, "×");
  const dialog = make("dialog.sm-dialog", { "aria-label": title, tabindex: -1, autofocus: true }, make("header", {}, make("h2", { text: title }), close), ...children);
  const leave = () => {
    if (!dialog.isConnected) return;
    dialog.remove();
    before?.focus?.({ preventScroll: true });
  };
  dialog.addEventListener("close", leave);
  // The browser's own way comes later, and a key that follows at once would be lost.
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    dialog.close();
    leave();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  root.append(dialog);
  dialog.showModal();
  return dialog;
}
