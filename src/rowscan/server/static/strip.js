// Strip: what the line model believed at each step along a line, below the line as it saw it.

import { percent, say } from "./words.js";

const FAINT = 0.02; // a character that is never more probable has no row
const BLANK = 0; // the class of no new character
const HEIGHT = 32; // rows of the network's input

export class Strip {
  #canvas;
  #found = null;
  #shown = []; // the classes that have a row

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** Take the explanation of a line, as the service gives it. */
  set(found) {
    this.#found = found;
    const most = (i) => Math.max(...found.belief.map((row) => row[i]));
    const classes = found.alphabet.map((_, i) => i + 1);
    this.#shown = classes.filter((i) => i <= 10 || most(i) > FAINT);
  }

  get steps() {
    return this.#found.belief.length;
  }

  /** The text that the steps until now give: runs of one class are one character, blanks none. */
  soFar(step) {
    const path = this.#found.belief.slice(0, step).map(argmax);
    const kept = path.filter((one, i) => one !== BLANK && one !== path[i - 1]);
    return kept.map((one) => this.#found.alphabet[one - 1]).join("");
  }

  /** The step, from 1, at which a character of the line has been read. */
  stepOf(character) {
    return this.#found.steps[character] + 1;
  }

  /** Draw the first steps; what they say. */
  show(step) {
    const { belief, alphabet } = this.#found;
    this.#draw(step);
    const best = argmax(belief[step - 1]);
    const when = say("step", step, this.steps);
    if (step === this.steps) {
      return say("believed", when, this.soFar(step) || "–", percent(this.#found.confidence));
    }
    if (best === BLANK) return say("nothingNew", when);
    return say("believed", when, naming(alphabet[best - 1]), percent(belief[step - 1][best]));
  }

  #draw(step) {
    const { belief, picture, alphabet } = this.#found;
    const canvas = this.#canvas;
    const style = getComputedStyle(canvas);
    const width = Math.round(canvas.clientWidth * devicePixelRatio);
    const margin = Math.round(18 * devicePixelRatio); // for the names of the characters
    const columns = picture[0].length;
    const scale = (width - margin) / columns;
    const writing = Math.min(HEIGHT * scale, 110 * devicePixelRatio);
    const row = Math.round(13 * devicePixelRatio);
    const top = Math.round(writing + 6 * devicePixelRatio);
    canvas.width = width;
    canvas.height = top + row * this.#shown.length;
    canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    const context = canvas.getContext("2d");
    context.fillStyle = style.color;
    const here = Math.round(margin + Math.min(step * (columns / belief.length), columns) * scale);
    const across = writing / HEIGHT;
    for (const [y, line] of picture.entries()) {
      for (const [x, value] of line.entries()) {
        if (!value) continue;
        const left = margin + x * scale;
        context.globalAlpha = (value / 255) * (left < here ? 1 : 0.2);
        fill(context, left, y * across, scale, across);
      }
    }
    this.#drawBelief(context, { belief, alphabet, step, margin, top, row, width, style });
    context.globalAlpha = 0.8;
    context.fillStyle = style.caretColor;
    context.fillRect(Math.min(here, width - 2), 0, Math.max(1, devicePixelRatio), canvas.height);
  }

  #drawBelief(context, { belief, alphabet, step, margin, top, row, width, style }) {
    const wide = (width - margin) / belief.length;
    context.font = `${0.8 * row}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (const [place, one] of this.#shown.entries()) {
      const y = top + place * row;
      const leads = step > 0 && argmax(belief[step - 1]) === one;
      context.globalAlpha = leads ? 1 : 0.7;
      context.fillStyle = leads ? style.caretColor : style.color;
      context.fillText(naming(alphabet[one - 1]), 0, y + row / 2);
      context.globalAlpha = 0.05;
      context.fillStyle = style.color;
      fill(context, margin, y, width - margin, row - devicePixelRatio);
      for (let at = 0; at < step; at++) {
        const sure = belief[at][one];
        if (sure < 0.005) continue;
        context.globalAlpha = 0.1 + 0.9 * sure;
        context.fillStyle = argmax(belief[at]) === one ? style.caretColor : style.color;
        fill(context, margin + at * wide, y, wide, row - devicePixelRatio);
      }
    }
  }
}

/** A space has a sign of its own. */
function naming(character) {
  return character === " " ? "␣" : character;
}

// On whole pixels, so that no seam shows between cells.
function fill(context, x, y, width, height) {
  const left = Math.round(x);
  const top = Math.round(y);
  context.fillRect(left, top, Math.round(x + width) - left, Math.round(y + height) - top);
}

function argmax(row) {
  return row.indexOf(Math.max(...row));
}
