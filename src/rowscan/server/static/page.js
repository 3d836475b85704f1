// Page: connects the paper, the service and the display of its answers.

import { Belief } from "./belief.js";
import { Paper, SHEET } from "./paper.js";
import { Gone, Refused, ask, comeback, keep, reach } from "./service.js";
import { Sheets } from "./sheets.js";
import { ThemeButton } from "./themebutton.js";
import { fillIn, percent, say, switchLanguage } from "./words.js";

const TAG = { width: 44, height: 17 }; // pixels that the broadest tag takes, ">99%"

const at = (id) => document.getElementById(id);

const paper = new Paper(at("paper"), {
  onStart() {
    if (sheets.current) {
      dropPhotos();
      paper.clear();
    }
    running?.abort(); // what is still being read is no longer what stands there
    at("hint").hidden = true;
  },
  onChange: read,
});
const belief = new Belief({ onView: () => selected && explain(selected), onStep: drawHead });
const sheets = new Sheets(); // pictures that are read instead of the paper

let shown = { kind: "nothing" }; // what the answer shows, to say it again in another language
let selected = null; // the digit that is explained
let explained = null; // the line whose explanation is shown, and where its steps are
let running = null; // aborts what is being asked
let away = false; // the service does not answer
let fixed = null; // the reading whose text is in the field
let readingOn = false; // the pictures after the one that is shown
let keeps = null; // the folder for samples, if any are kept

// Reading ------------------------------------------------------------------------------------

async function read() {
  running?.abort();
  if (paper.writing) return;
  const sheet = sheets.current;
  at("hint").hidden = !paper.empty || sheet !== null;
  if (!sheet && paper.empty) return show({ kind: "nothing" });
  at("result").ariaBusy = "true";
  running = new AbortController();
  const { signal } = running;
  await attempt(signal, async () => {
    if (sheet?.error) {
      readOn();
      throw sheet.error;
    }
    const picture = sheet?.blob ?? (await toBlob(paper.sheet()));
    signal.throwIfAborted();
    const reading = sheet?.reading ?? (await ask("v1/read", picture, { signal, onBusy }));
    if (sheet) sheet.reading = reading;
    if (signal.aborted) return;
    explained = null;
    show({ kind: reading.lines.length ? "reading" : "none", reading, picture });
    const digits = allDigits(reading);
    if (digits.length) await select(digits[0], signal, { whole: true });
    if (sheet) readOn();
  });
}

/** Read the other pictures, one by one, while somebody looks at this one. */
async function readOn() {
  if (readingOn) return;
  readingOn = true;
  for (let sheet = sheets.unread(); sheet; sheet = sheets.unread()) {
    try {
      sheet.reading = await ask("v1/read", sheet.blob);
    } catch (error) {
      if (!(error instanceof Refused)) break; // once the service is back, `read` begins again
      sheet.error = error;
    }
    tellSheets();
  }
  readingOn = false;
}

/** Explain one digit of the reading that is shown. */
async function explain(digit) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  await attempt(signal, () => select(digit, signal));
}

/** Show how a digit was read: its line, as a whole or up to the digit, or the digit alone. */
async function select(digit, signal, { whole = false } = {}) {
  selected = digit;
  markSelected();
  const { reading, picture } = shown;
  const line = reading.lines.findIndex((one) => one.characters.includes(digit));
  const character = reading.lines[line].characters.indexOf(digit);
  const query = `v1/explain?line=${line + 1}`;
  if (belief.view === "rows") {
    const found = await ask(`${query}&character=${character + 1}`, picture, { signal, onBusy });
    return signal.aborted || belief.setRows(found);
  }
  const known = explained?.line === line && explained.reading === reading;
  const found = known ? explained.found : await ask(query, picture, { signal, onBusy });
  if (signal.aborted) return;
  explained = { reading, line, found };
  belief.setLine(found, whole ? null : character);
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
  if (sheets.all.length < 2) dropPhotos();
  show({ kind: "refused", message: () => (reason ? say(reason) : say("failed", message)) });
  at("hint").hidden = !paper.empty || sheets.current !== null;
}

function onBusy() {
  at("remark").textContent = say("busy");
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
    none: () => say("noDigitRemark"),
    refused: () => answer.message(),
    reading: () => say("sure", percent(reading.confidence)),
  }[kind]();
  at("spoken").textContent = {
    nothing: () => "",
    none: () => say("noDigit"),
    refused: () => answer.message(),
    reading: () => say("read", reading.text, percent(reading.confidence)),
  }[kind]();
  const sheet = sheets.current;
  at("undo").disabled = at("clear").disabled = paper.empty && !sheet;
  at("redo").disabled = !paper.redoable || sheet !== null;
  at("fix").hidden = at("keep-row").hidden = !reading;
  at("keep-row").hidden ||= !keeps;
  if (reading && reading !== fixed) {
    at("text").value = sheet?.text ?? reading.text;
    at("kept").textContent = "";
    fixed = reading;
  }
  tellSheets();
  drawBoxes();
  if (kind !== "reading") belief.clear();
}

/** Which of several pictures this is, and how many of them are read. */
function tellSheets() {
  const { all, place, current } = sheets;
  at("sheets").hidden = all.length < 2;
  if (all.length < 2) return;
  const read = all.filter((sheet) => sheet.reading || sheet.error).length;
  const name = current.number ? say("page", current.name, current.number) : current.name;
  at("which").textContent = say("which", place + 1, all.length, name);
  at("many").textContent = read < all.length ? say("readSoFar", read, all.length) : "";
  at("before").disabled = place === 0;
  at("after").disabled = place === all.length - 1;
}

/** The step that the line model is at, over the writing; null for none. */
function drawHead(step) {
  const place = step === null ? null : explained?.found.places[step - 1];
  at("head").toggleAttribute("hidden", !place);
  if (!place) return;
  const { width, height } = shown.reading;
  at("head").setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const [i, name] of ["x1", "y1", "x2", "y2"].entries()) {
    at("head-line").setAttribute(name, place[i]);
  }
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
  const { clientWidth, clientHeight } = at("stage");
  const tags = []; // where there are some, so that none covers another
  for (const digit of allDigits(reading)) {
    const [x, y, width, height] = digit.box;
    const box = document.createElement("div");
    box.className = "box";
    const left = (1 - across) / 2 + (across * x) / reading.width;
    const top = (1 - down) / 2 + (down * y) / reading.height;
    const wide = (across * width) / reading.width;
    const high = (down * height) / reading.height;
    box.style.left = `${100 * left}%`;
    box.style.top = `${100 * top}%`;
    box.style.width = `${100 * wide}%`;
    box.style.height = `${100 * high}%`;
    const below = y < 0.08 * reading.height; // its tag has no room above
    box.classList.toggle("high", below);
    const place = {
      x: (left + wide / 2) * clientWidth,
      y: (below ? top + high : top) * clientHeight + (below ? TAG.height : 0),
    };
    if (tags.every((tag) => apart(tag, place))) {
      tags.push(place);
      box.append(span("tag", percent(digit.confidence)));
    }
    if (sheets.current) box.addEventListener("click", () => explain(digit)); // on paper one writes
    boxes.append(box);
  }
  boxes.classList.toggle("touchable", sheets.current !== null);
  markSelected();
}

function apart(one, other) {
  return Math.abs(one.x - other.x) >= TAG.width || Math.abs(one.y - other.y) >= TAG.height;
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

function takePhotos(files) {
  if (!files.length) return;
  dropPhotos();
  at("remark").textContent = "";
  at("result").ariaBusy = "true";
  sheets.open([...files], (sheet) => {
    if (sheet === sheets.current) return turnTo(0);
    tellSheets();
    if (sheets.current.reading || sheets.current.error) readOn();
  });
}

/** Show another of the pictures. */
function turnTo(by) {
  sheets.turn(by);
  at("photo").src = sheets.current.url;
  at("photo").hidden = false;
  show({ kind: "nothing" });
  at("remark").textContent = "";
  read();
}

function dropPhotos() {
  if (!sheets.current) return;
  sheets.close();
  at("photo").removeAttribute("src");
  at("photo").hidden = true;
  show({ kind: "nothing" });
}

at("before").addEventListener("click", () => turnTo(-1));
at("after").addEventListener("click", () => turnTo(1));
for (const id of ["choose", "photograph"]) {
  at(id).addEventListener("change", (event) => {
    takePhotos([...event.target.files]);
    event.target.value = ""; // the same file may be chosen again
  });
}
addEventListener("paste", (event) => takePhotos(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault(); // or the browser would leave the page for the file
  at("stage").classList.add("over");
});
for (const end of ["dragleave", "drop"]) {
  addEventListener(end, () => at("stage").classList.remove("over"));
}
addEventListener("drop", (event) => {
  event.preventDefault();
  takePhotos(event.dataTransfer.files);
});

// Tools --------------------------------------------------------------------------------------

function undo() {
  if (paper.writing) return;
  if (sheets.current) dropPhotos();
  else paper.undo();
  read();
}

function redo() {
  if (paper.writing || sheets.current) return;
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
    if (response?.ok) takePhotos([await response.blob()]);
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
  const one = { ...shown.reading, corrected: at("text").value };
  const whole = sheets.all.length > 1 ? { pages: sheets.all.map(asPage) } : one;
  const link = document.createElement("a");
  const content = [JSON.stringify(whole, null, 2)];
  link.href = URL.createObjectURL(new Blob(content, { type: "application/json" }));
  link.download = "reading.json";
  link.click();
  URL.revokeObjectURL(link.href);
});

function asPage({ name, number, reading, text, error }) {
  if (!reading) return { path: name, page: number ?? 1, status: "error", error: error?.message };
  return { ...reading, path: name, page: number ?? 1, corrected: text ?? reading.text };
}

at("text").addEventListener("input", () => {
  if (sheets.current) sheets.current.text = at("text").value;
  at("kept").textContent = "";
});
at("text").addEventListener("change", keepSample);
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && at("text").value === fixed?.text) keepSample();
});
at("keep").addEventListener("change", () => {
  if (at("text").value !== fixed?.text) keepSample();
});

/** Keep what is shown, with the text in the field, where somebody has said so. */
async function keepSample() {
  const { picture, reading } = shown;
  if (!at("keep").checked || !picture) return;
  try {
    const n = await keep(picture, at("text").value);
    if (reading === shown.reading) at("kept").textContent = say("kept", n, keeps);
  } catch (error) {
    if (error instanceof Gone) await waitForService();
    else at("kept").textContent = say("notKept", error.message);
  }
}

function oldCopy() {
  document.execCommand("copy");
}

at("clear").addEventListener("click", () => {
  dropPhotos();
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
  theme.name();
  announce();
  const kept = selected;
  const busy = at("result").ariaBusy;
  show(shown);
  at("result").ariaBusy = busy;
  selected = kept;
  markSelected();
  belief.redraw();
}

const theme = new ThemeButton(at("theme"), {
  onChange() {
    paper.redraw();
    belief.redraw();
  },
});

speak();

const answer = await reach("v1/samples").catch(() => null);
keeps = answer?.ok ? (await answer.json()).folder : null;
at("keep-row").hidden = !keeps || at("fix").hidden;
