/** Small makers of DOM elements; text is always set as text. */

/**
 * Makes an element.
 *
 * @param {string} name tag and classes: "div.sm-card.is-current"
 * @param {object} attributes `on*` functions become listeners, `text` the text; null and false are left out.
 * @param {(Node | string | null)[]} children
 */
export function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A key as it stands on the keyboard. */
export function key(name) {
  return make("kbd", { text: name, "aria-hidden": "true" });
}

/** A button that does not take the focus from the step when it is clicked. */
export function button(name, attributes, ...children) {
  const element = make(`button.${name}`, { type: "button", ...attributes }, ...children);
  element.addEventListener("mousedown", (event) => event.preventDefault());
  return element;
}
