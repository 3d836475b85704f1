// Rows: what the digit model believed after each row of one digit.

import { percent, say } from "./words.js";

const DIGITS = 10;
const CLEAR = 0.3; // a digit that is less probable leads nothing

const at = (id) => document.getElementById(id);

export class Rows {
  #explanation = null;
  #bars = [];

  constructor() {
    for (let digit = 0; digit < DIGITS; digit++) {
      const column = document.createElement("div");
      const bar = document.createElement("i");
      const name = document.createElement("b");
      name.textContent = digit;
      column.append(bar, name);
      at("bars").append(column);
      this.#bars.push(column);
    }
  }

  /** Take an explanation of a digit, as the service gives it. */
  set(explanation) {
    this.#explanation = explanation;
  }

  get steps() {
    return this.#explanation.belief.length;
  }

  /** Draw the first steps; what they say. */
  show(step) {
    const { belief, picture, scan } = this.#explanation;
    const now = belief[step - 1];
    const leader = argmax(now);
    for (const [digit, column] of this.#bars.entries()) {
      column.firstChild.style.height = `${100 * now[digit]}%`;
      column.classList.toggle("leads", digit === leader && now[leader] >= CLEAR);
    }
    const byRows = scan === "rows";
    drawPicture(at("picture"), picture, byRows ? step : picture.length);
    drawHeat(at("heat"), belief, step);
    const when = say(byRows ? "row" : "step", step, this.steps);
    return now[leader] >= CLEAR
      ? say("believed", when, leader, percent(now[leader]))
      : say("undecided", when);
  }

  /** The way to the answer, once all steps are shown. */
  way() {
    const way = changes(this.#explanation.belief);
    return way.length > 1 ? say("path", way.slice(0, -1)) : "";
  }
}

function drawPicture(canvas, picture, rows) {
  const { context, side, ink, accent } = prepare(canvas);
  const cell = side / picture.length;
  context.fillStyle = ink;
  for (const [y, row] of picture.entries()) {
    for (const [x, value] of row.entries()) {
      if (!value) continue;
      context.globalAlpha = (value / 255) * (y < rows ? 1 : 0.15);
      fill(context, x * cell, y * cell, cell, cell);
    }
  }
  mark(context, rows * cell, side, accent);
}

function drawHeat(canvas, belief, step) {
  const { context, side, ink, accent } = prepare(canvas);
  const width = side / DIGITS;
  const height = side / belief.length;
  context.fillStyle = ink;
  for (const [y, row] of belief.slice(0, step).entries()) {
    for (const [digit, probability] of row.entries()) {
      context.globalAlpha = 0.04 + 0.86 * probability;
      fill(context, digit * width, y * height, width - devicePixelRatio, height);
    }
  }
  context.globalAlpha = 1;
  context.strokeStyle = accent;
  context.lineWidth = 2 * devicePixelRatio;
  context.lineJoin = "round";
  context.beginPath();
  let led = false;
  for (const [y, row] of belief.slice(0, step).entries()) {
    const x = (argmax(row) + 0.5) * width;
    const leads = Math.max(...row) >= CLEAR;
    if (leads) {
      if (led) context.lineTo(x, y * height);
      else context.moveTo(x, y * height);
      context.lineTo(x, (y + 1) * height);
    }
    led = leads;
  }
  context.stroke();
  mark(context, step * height, side, accent);
}

function prepare(canvas) {
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.width = canvas.height = side;
  const style = getComputedStyle(canvas);
  return { context: canvas.getContext("2d"), side, ink: style.color, accent: style.caretColor };
}

// On whole pixels, so that no seam shows between cells.
function fill(context, x, y, width, height) {
  const left = Math.round(x);
  const top = Math.round(y);
  context.fillRect(left, top, Math.round(x + width) - left, Math.round(y + height) - top);
}

function mark(context, y, side, accent) {
  context.globalAlpha = 0.6;
  context.fillStyle = accent;
  context.fillRect(0, Math.min(y, side) - devicePixelRatio, side, devicePixelRatio);
}

function argmax(row) {
  return row.indexOf(Math.max(...row));
}

/** The digits that led, in order; a lead counts if it is clear and lasts two steps. */
function changes(belief) {
  const leaders = belief.map((row) => (Math.max(...row) >= CLEAR ? argmax(row) : null));
  const lasting = leaders.filter(
    (digit, i) => digit !== null && (digit === leaders[i - 1] || digit === leaders[i + 1]),
  );
  return lasting.filter((digit, i) => digit !== lasting[i - 1]);
}
