/**
 * The shapes that say the same as the colours: a check in a circle, a bar in a diamond, a cross in an octagon, a way
 * back in a house.
 */

const SVG = "http://www.w3.org/2000/svg";

const OUTLINES = {
  good: "M8 1.2a6.8 6.8 0 1 1 0 13.6a6.8 6.8 0 1 1 0-13.6Z",
  neutral: "M8 .8 15.2 8 8 15.2.8 8Z",
  bad: "M5.2 1.2h5.6L14.8 5.2v5.6l-4 4H5.2l-4-4V5.2Z",
  repaired: "M8 1 14.6 6.2V14.4H1.4V6.2Z",
  none: "M8 2.2a5.8 5.8 0 1 1 0 11.6a5.8 5.8 0 1 1 0-11.6Z",
};

const MARKS = {
  good: "M4.9 8.3 7.1 10.5 11.2 5.8",
  neutral: "M5.2 8h5.6",
  bad: "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8",
  repaired: "M6.6 6.6 4.6 8.6l2 2M4.8 8.6h4.4a1.9 1.9 0 0 1 0 3.8",
  none: "",
};

/** An icon by name: good, neutral, bad, repaired, none. Its paths bear the classes `outline` and `mark`. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `sm-icon sm-icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  for (const [part, paths] of [["outline", OUTLINES], ["mark", MARKS]]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", paths[name]);
    path.setAttribute("class", part);
    svg.append(path);
  }
  return svg;
}
