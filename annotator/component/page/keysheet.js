/** The sheet of keys: shows them, and takes other ones for them. */

import { ACTIONS, keyOf, signOf } from "../keys.js";
import { open } from "./dialogs.js";
import { button, key, make } from "./elements.js";

/**
 * Shows the keys of a kind of task.
 *
 * @param {HTMLElement} root
 * @param {import("../keys.js").Keys} keys
 * @param {string} kind
 * @param {() => void} changed called after each change
 */
export function showKeys(root, keys, kind, changed) {
  const word = make("p.sm-hint", { role: "status", text: "Click a key to set another. Keys rest while you type in a field." });
  const sheet = make("div.sm-keysheet");
  let asking = null;

  const say = (text, isRefused = false) => {
    word.textContent = text;
    word.classList.toggle("is-refused", isRefused);
  };
  const drawSheet = () => {
    const actions = ACTIONS.filter(({ kinds }) => kinds.includes(kind));
    const groups = [...new Set(actions.map(({ group }) => group))];
    sheet.replaceChildren(
      ...groups.map((group) =>
        make("section", {}, make("h3", { text: group }), make("dl", {}, ...actions.filter((action) => action.group === group).flatMap(row))),
      ),
    );
  };
  const row = ({ name, words }) => {
    const keycaps = keys.of(name).map((each) => key(signOf(each)));
    const change = button("sm-rebind", { "data-action": name, "aria-label": `${words}: key ${keys.of(name).map(signOf).join(" or ")}, change` }, ...keycaps);
    change.addEventListener("click", () => {
      stop();
      asking = { name, change };
      change.classList.add("is-asking");
      say(`Press a key for “${words}”, or Esc.`);
    });
    return [make("dt", {}, change), make("dd", { text: words })];
  };
  const stop = () => {
    asking?.change.classList.remove("is-asking");
    asking = null;
  };

  drawSheet();
  const reset = button("sm-quiet", {}, "Reset all keys");
  reset.addEventListener("click", () => {
    stop();
    keys.reset();
    changed();
    drawSheet();
    say("All keys are as they were at first.");
  });
  const dialog = open(root, "Keys", [sheet, make("div.sm-row.sm-between", {}, word, reset)]);
  dialog.classList.add("sm-wide");
  dialog.addEventListener("keydown", (event) => {
    if (!asking || event.key === "Shift") return;
    event.preventDefault();
    event.stopPropagation();
    const { name } = asking;
    stop();
    if (event.key === "Escape") return say("Nothing changed.");
    const refused = keys.bind(name, keyOf(event));
    if (refused) return say(refused, true);
    changed();
    drawSheet();
    sheet.querySelector(`[data-action="${name}"]`).focus();
    return say(`Set to ${signOf(keyOf(event))}.`);
  }, true); // before the dialog's own keys
}
