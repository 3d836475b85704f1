// Page: connects the paper, the service and the display of its answers.

import { Belief } from "./belief.js";
import { Paper, SHEET } from "./paper.js";
import { Gone, Refused, ask, comeback } from "./service.js";
import { fillIn, percent, remember, say, switchLanguage } from "./words.js";

const TAG = 32; // pixels that the broadest tag takes, ">99%"

const at = (id) => document.getElementById(id);

const paper = new Paper(at("paper"), {
  onStart() {
    if (photo) {
      dropPhoto();
      paper.clear();
    }
    running?.abort(); // what is still being read is no longer what stands there
    at("hint").hidden = true;
  },
  onChange: read,
});
const belief = new Belief();

let photo = null; // the file that is being read instead of the paper
let shown = { kind: "nothing" }; // what the answer shows, to say it again in another language
let selected = null; // the digit that is explained
let running = null; // aborts what is being asked
let away = false; // the service does not answer
let fixed = null; // the reading whose text is in the field

// Reading ------------------------------------------------------------------------------------

async function read() {
  running?.abort();
  if (paper.writing) return;
  at("hint").hidden = !paper.empty || photo !== null;
  if (!photo && paper.empty) return show({ kind: "nothing" });
  at("result").ariaBusy = "true";
  running = new AbortController();
  const { signal } = running;
  const file = photo;
  await attempt(signal, async () => {
    const picture = file ?? (await toBlob(paper.sheet()));
    signal.throwIfAborted();
    const answer = await ask("v1/read", picture, { signal, onBusy });
    const reading = answer.pages ? { ...answer.pages[0], pages: answer.pages.length } : answer;
    if (signal.aborted) return;
    show(reading.lines.length ? { kind: "reading", reading } : { kind: "none", reading });
    const digits = allDigits(reading);
    if (digits.length) await select(digits[0], signal);
  });
}

/** Explain one digit of the reading that is shown. */
async function explain(digit) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  await attempt(signal, () => select(digit, signal));
}

async function select(digit, signal) {
  selected = digit;
  markSelected();
  const picture = (await cutOut(digit.box, shown.reading)) ?? photo;
  signal.throwIfAborted();
  const explanation = await ask("v1/explain", picture, { signal, onBusy });
  if (!signal.aborted) belief.set(explanation);
}

/** Run a request to the service, and show its error. */
async function attempt(signal, asking) {
  try {
    await asking();
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Gone) await waitForService();
    else if (error instanceof Refused) refuse(error);
    else throw error;
  }
}

async function waitForService() {
  if (away) return;
  away = true;
  announce();
  await comeback();
  away = false;
  announce();
  read();
}

function refuse({ status, message }) {
  const reason = { 413: "tooLarge", 415: "notImage", 422: "damaged" }[status];
  dropPhoto();
  show({ kind: "refused", message: () => (reason ? say(reason) : say("failed", message)) });
  at("hint").hidden = !paper.empty;
}

function onBusy() {
  at("remark").textContent = say("busy");
}

/** A digit with some paper around it; null where the browser cannot show the image itself. */
async function cutOut([x, y, width, height], reading) {
  const source = photo ? at("photo") : paper.sheet();
  if (photo) await source.decode().catch(() => {});
  const scale = (photo ? source.naturalWidth : source.width) / reading.width;
  if (!scale) return null;
  const margin = Math.max(4, 0.15 * Math.max(width, height));
  // Neighbours end the margin: their ink is not the digit's.
  const beside = allDigits(reading).map((digit) => digit.box);
  const level = beside.filter(([, top, , high]) => top < y + height && top + high > y);
  const ends = level.map(([from, , wide]) => from + wide).filter((end) => end <= x);
  const starts = level.map(([from]) => from).filter((start) => start >= x + width);
  const left = Math.max(0, x - margin, ...ends);
  const top = Math.max(0, y - margin);
  const right = Math.min(reading.width, x + width + margin, ...starts);
  const bottom = Math.min(reading.height, y + height + margin);
  const zoom = Math.min(scale, 256 / Math.max(right - left, bottom - top));
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(zoom * (right - left));
  canvas.height = Math.ceil(zoom * (bottom - top));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.scale(zoom / scale, zoom / scale);
  context.drawImage(source, -scale * left, -scale * top);
  return toBlob(canvas);
}

/** As a PNG, at once: `canvas.toBlob` waits for idle time, on a busy machine for seconds. */
function toBlob(canvas) {
  const bytes = atob(canvas.toDataURL("image/png").split(",")[1]);
  return new Blob([Uint8Array.from(bytes, (c) => c.charCodeAt(0))], { type: "image/png" });
}

// Showing ------------------------------------------------------------------------------------

function show(answer) {
  shown = answer;
  selected = null;
  at("result").ariaBusy = "false";
  const { kind, reading } = answer;
  const text = { nothing: "–", none: say("noDigit"), refused: "–" }[kind];
  const lines = kind === "reading" ? reading.lines.map(lineElement) : [text];
  at("result").replaceChildren(...lines);
  at("result").classList.toggle("words", kind !== "reading");
  at("result").classList.toggle("long", kind === "reading" && longest(reading) > 5);
  at("remark").textContent = {
    nothing: () => say("nothing"),
    none: () => say("noDigitRemark") + ofPages(reading),
    refused: () => answer.message(),
    reading: () => say("sure", percent(reading.confidence)) + ofPages(reading),
  }[kind]();
  at("spoken").textContent = {
    nothing: () => "",
    none: () => say("noDigit"),
    refused: () => answer.message(),
    reading: () => say("read", reading.text, percent(reading.confidence)),
  }[kind]();
  at("undo").disabled = at("clear").disabled = paper.empty && !photo;
  at("redo").disabled = !paper.redoable || photo !== null;
  at("fix").hidden = kind !== "reading";
  if (kind === "reading" && reading !== fixed) {
    at("text").value = reading.text;
    fixed = reading;
  }
  drawBoxes();
  if (kind !== "reading") belief.set(null);
}

/** Of a document this page shows the first page alone, and says so. */
function ofPages(reading) {
  return reading.pages ? ` · ${say("firstOf", reading.pages)}` : "";
}

function lineElement(line) {
  const element = document.createElement("div");
  element.className = "line";
  element.append(...line.characters.map((c) => (isDigit(c) ? digitElement(c) : signElement(c))));
  return element;
}

function digitElement(digit) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "digit";
  button.setAttribute("aria-label", say("digitLabel", digit.character, percent(digit.confidence)));
  button.setAttribute("aria-pressed", "false");
  button.append(span("glyph", digit.character), span("sure", percent(digit.confidence)));
  const rival = digit.runner_up;
  button.append(span("rival", rival ? say("rival", rival.character, percent(rival.confidence)) : ""));
  button.addEventListener("click", () => explain(digit));
  return button;
}

function signElement(sign) {
  const element = document.createElement("div");
  element.className = "sign";
  element.append(span("glyph", sign.character), span("sure", percent(sign.confidence)));
  element.append(span("rival", ""));
  return element;
}

function drawBoxes() {
  const boxes = at("boxes");
  boxes.replaceChildren();
  if (shown.kind !== "reading") return;
  const { reading } = shown;
  // An image fills the stage in one direction and is centred in the other.
  const stage = SHEET.width / SHEET.height;
  const image = reading.width / reading.height;
  const across = Math.min(1, image / stage);
  const down = Math.min(1, stage / image);
  for (const digit of allDigits(reading)) {
    const [x, y, width, height] = digit.box;
    const box = document.createElement("div");
    box.className = "box";
    box.style.left = `${100 * ((1 - across) / 2 + (across * x) / reading.width)}%`;
    box.style.top = `${100 * ((1 - down) / 2 + (down * y) / reading.height)}%`;
    box.style.width = `${(100 * across * width) / reading.width}%`;
    box.style.height = `${(100 * down * height) / reading.height}%`;
    box.classList.toggle("high", y < 0.08 * reading.height); // its tag has no room above
    // A tag that is broader than its box would cover the next one.
    const room = (width * across * at("stage").clientWidth) / reading.width;
    if (room >= TAG) box.append(span("tag", percent(digit.confidence)));
    if (photo) box.addEventListener("click", () => explain(digit)); // on paper one writes
    boxes.append(box);
  }
  boxes.classList.toggle("touchable", photo !== null);
  markSelected();
}

function markSelected() {
  if (shown.kind !== "reading") return;
  const digits = allDigits(shown.reading);
  const tiles = at("result").querySelectorAll(".digit");
  for (const [i, digit] of digits.entries()) {
    tiles[i].setAttribute("aria-pressed", String(digit === selected));
    at("boxes").children[i].classList.toggle("selected", digit === selected);
  }
}

function announce() {
  at("gone").hidden = !away;
  at("gone").textContent = away ? say("gone") : "";
}

/** Signs are shown, but only digits are explained. */
function isDigit({ character }) {
  return /[0-9?]/.test(character);
}

function allDigits(reading) {
  return reading.lines.flatMap((line) => line.characters.filter(isDigit));
}

function longest(reading) {
  return Math.max(...reading.lines.map((line) => line.characters.length));
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

// Images -------------------------------------------------------------------------------------

function takePhoto(file) {
  if (!file) return;
  dropPhoto();
  photo = file;
  at("photo").src = URL.createObjectURL(file);
  at("photo").hidden = false;
  show({ kind: "nothing" });
  at("remark").textContent = "";
  read();
}

function dropPhoto() {
  if (!photo) return;
  photo = null;
  URL.revokeObjectURL(at("photo").src);
  at("photo").removeAttribute("src");
  at("photo").hidden = true;
  show({ kind: "nothing" });
}

for (const id of ["choose", "photograph"]) {
  at(id).addEventListener("change", (event) => {
    takePhoto(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
}
addEventListener("paste", (event) => takePhoto(event.clipboardData.files[0]));
addEventListener("dragover", (event) => {
  event.preventDefault(); // or the browser would leave the page for the file
  at("stage").classList.add("over");
});
for (const end of ["dragleave", "drop"]) {
  addEventListener(end, () => at("stage").classList.remove("over"));
}
addEventListener("drop", (event) => {
  event.preventDefault();
  takePhoto(event.dataTransfer.files[0]);
});

// Tools --------------------------------------------------------------------------------------

function undo() {
  if (paper.writing) return;
  if (photo) dropPhoto();
  else paper.undo();
  read();
}

function redo() {
  if (paper.writing || photo) return;
  paper.redo();
  read();
}

at("undo").addEventListener("click", undo);
at("redo").addEventListener("click", redo);
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target === at("text")) return;
  const key = event.key.toLowerCase();
  const action = key === "y" || (key === "z" && event.shiftKey) ? redo : key === "z" ? undo : null;
  if (!action) return;
  event.preventDefault();
  action();
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    const response = await fetch(`static/example-${button.dataset.example}.jpg`).catch(() => null);
    if (response?.ok) takePhoto(await response.blob());
    else await waitForService();
  });
}
at("copy").addEventListener("click", async () => {
  at("text").select();
  // Without https, browsers have only the older way.
  if (navigator.clipboard) await navigator.clipboard.writeText(at("text").value).catch(oldCopy);
  else oldCopy();
  at("copy").textContent = say("copied");
  setTimeout(() => (at("copy").textContent = say("copy")), 1500);
});
at("download").addEventListener("click", () => {
  const content = JSON.stringify({ ...shown.reading, corrected: at("text").value }, null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "reading.json";
  link.click();
  URL.revokeObjectURL(link.href);
});

function oldCopy() {
  document.execCommand("copy");
}

at("clear").addEventListener("click", () => {
  dropPhoto();
  paper.clear();
  read();
});

at("language").addEventListener("click", () => {
  switchLanguage();
  speak();
});

function speak() {
  fillIn();
  const chinese = document.documentElement.lang !== "en";
  at("language").textContent = chinese ? "English" : "中文";
  at("language").lang = chinese ? "en" : "zh-Hans";
  nameTheme();
  announce();
  const kept = selected;
  const busy = at("result").ariaBusy;
  show(shown);
  at("result").ariaBusy = busy;
  selected = kept;
  markSelected();
  belief.redraw();
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemDark.matches;
}

function nameTheme() {
  at("theme").dataset.words = dark() ? "light" : "dark";
  at("theme").textContent = say(at("theme").dataset.words);
}

function recolour() {
  nameTheme();
  paper.redraw();
  belief.redraw();
}

at("theme").addEventListener("click", () => {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  remember("theme", theme);
  recolour();
});
systemDark.addEventListener("change", recolour);

speak();
