// Review: connects the list, the desk with the current picture, and the service.

import { Card } from "./card.js";
import { List, asRow, filters, isDone } from "./list.js";
import { Saving, call, unique } from "./saving.js";
import { Gone } from "./service.js";
import { Sheet } from "./sheet.js";
import { ThemeButton } from "./themebutton.js";
import { fillIn, percent, remember, remembered, say, switchLanguage } from "./words.js";
import "./reviewwords.js";

const AHEAD = 3; // pictures that are fetched before they are looked at
const KEPT = 12; // pictures in memory
const POLL = 2000; // milliseconds
const DELETED = "deleted";

const at = (id) => document.getElementById(id);

const list = new List(go);
const saving = new Saving({ user: () => at("user").value.trim(), onState: heard });
const sheet = new Sheet({
  onMove: moveBox,
  onDraw: addLine,
  onRemove: removeLine,
  onChoose: (line) => cardOf(line.line)?.selectDoubtful(),
});

let page = null; // the one on the desk
let pictures = new Map(); // its image, and those of other pages of its form, by their numbers
let cards = [];
let gesture = unique(); // what is typed in one field is undone together
let news = { readings: 0, corrections: 0 };
let about = { progress: {}, learning: {} };
let remark = () => ""; // said again in another language
let trouble = () => "";
let asked = 0; // counts visits: only the last one is shown

// Pictures, fetched ahead ----------------------------------------------------------------------

const fetched = new Map();

function fetchPage(id) {
  if (!fetched.has(id)) {
    // With its hash: the browser keeps pictures, and the next folder may have the same numbers.
    const address = `v1/review/pages/${id}/picture?tag=${list.rows.get(id).tag}`;
    fetched.set(id, fetchAll(address, call(`/pages/${id}`)));
    fetched.get(id).catch(() => fetched.delete(id));
    for (const old of fetched.keys()) {
      if (fetched.size <= KEPT) break;
      if (old !== page?.id) fetched.delete(old);
    }
  }
  return fetched.get(id);
}

/** A page with its picture; of a form with those of all its pages. */
async function fetchAll(address, answer) {
  const first = fetchPicture(address);
  const detail = await answer;
  const images = new Map([[detail.number, first]]);
  for (const { page: number } of detail.lines) {
    if (number && !images.has(number)) images.set(number, fetchPicture(`${address}&number=${number}`));
  }
  const decoded = await Promise.all([...images].map(async ([number, image]) => [number, await image]));
  return { detail, images: new Map(decoded) };
}

async function fetchPicture(address) {
  const image = new Image();
  image.src = address;
  await image.decode().catch(() => {});
  return image;
}

function fetchAhead() {
  for (const row of [...list.ahead(AHEAD), list.step(1)]) if (row) fetchPage(row.id).catch(() => {});
}

// The desk -----------------------------------------------------------------------------------

/** Put a picture on the desk. */
async function go(id, line = null) {
  const visit = ++asked;
  list.mark(id);
  let found;
  try {
    found = await fetchPage(id);
  } catch (error) {
    if (visit === asked) trouble = () => (error instanceof Gone ? say("lost") : error.message);
    return announce();
  }
  if (visit !== asked) return;
  page = found.detail;
  pictures = found.images;
  gesture = unique();
  remark = () => "";
  at("add").setAttribute("aria-pressed", "false");
  sheet.drawing(false);
  show();
  focusLine(line);
  call(`/pages/${id}/look`, saving.author).catch(() => {});
  const row = list.rows.get(id);
  if (row?.state === "open") row.state = "seen";
  fetchAhead();
}

/** The page of the form that shows a line, with its image and its size; or the page on the desk. */
function pictureOf(line) {
  const number = line?.page ?? page.number;
  const [width, height] = page.sizes?.[number] ?? [page.width, page.height];
  return { image: pictures.get(number), number, width, height };
}

function showSheet(line) {
  const { image, number, width, height } = pictureOf(line);
  const lines = page.lines.filter((one) => (one.page ?? page.number) === number);
  sheet.show({ ...page, width, height, lines, fixed: forForms() }, image);
}

/** Whether the pictures are laid upon forms, which say what there is to read. */
const forForms = () => Boolean(about.forms?.length);

function kept() {
  return page.lines.filter((line) => line.state !== DELETED);
}

function show() {
  at("name").textContent = page.number > 1 ? say("page", page.path, page.number) : page.path;
  at("state").textContent = say("states")[page.state];
  const lines = kept();
  cards = lines.map(
    (line, i) =>
      new Card(line, pictureOf(line), [i + 1, lines.length], {
        onType: type,
        onRemove: removeLine,
        onWhole: showWhole,
      }),
  );
  at("form").textContent = page.form ?? "";
  at("none").hidden = Boolean(page.form);
  at("add").hidden = at("whole-note").hidden = forForms();
  at("none").textContent = say(forForms() ? "noForm" : "none");
  at("lines").replaceChildren(...cards.map((card) => card.element));
  drawCards();
  showSheet();
  if (lines.length === 0 && page.status !== "error") at("whole").open = true;
  tell();
}

function drawCards() {
  const narrow = at("lines").clientWidth < 480;
  const width = at("lines").clientWidth - (narrow ? 18 : 26);
  if (width <= 0) return;
  const height = narrow ? 110 : cards.length > 2 ? 110 : 170;
  for (const card of cards) {
    const small = card.line.field && !card.line.doubtful;
    card.draw(small ? { width: card.element.clientWidth - 18, height: 54 } : { width, height });
  }
}

function tell() {
  at("remark").textContent =
    remark() ||
    (page?.status === "error" && kept().length === 0
      ? say("notReadable", page.error)
      : page && kept().length === 0 && page.state !== "none"
        ? say("nothingRead")
        : "");
}

function focusLine(name) {
  const asked = cards.find((one) => one.isAsked) ?? cards[0];
  const card = cards.find((one) => one.line.line === name) ?? asked;
  if (card) card.selectDoubtful();
  else at("desk").focus({ preventScroll: true });
}

function cardOf(name) {
  return cards.find((card) => card.line.line === name);
}

function focused() {
  return cards.find((card) => card.element.contains(document.activeElement));
}

function showWhole(line) {
  at("whole").open = true;
  showSheet(line);
  at("sheet").scrollIntoView({ block: "nearest" });
  sheet.focus(line.line);
}

// What a person says ---------------------------------------------------------------------------

const change = (line) => ({
  page: page.id,
  line: line.line,
  state: line.state,
  text: line.text,
  box: line.box,
});

function state(word) {
  page.state = word;
  const row = list.rows.get(page.id);
  row.state = word;
  const texts = kept().map((line) => line.text);
  row.text = (page.form ? texts.filter(Boolean) : texts).join(" / ");
  return { page: page.id, line: "", state: word };
}

function type(line, text) {
  Object.assign(line, { text, state: "typed" });
  cardOf(line.line)?.seal();
  saving.save(gesture, [change(line)]);
  check();
}

let checking = false;

/** What the fields of a form, and its rules, say of what stands there now. */
async function check() {
  if (!page.form || checking) return;
  checking = true;
  const { id } = page;
  try {
    await saving.flush();
    const fresh = await call(`/pages/${id}`);
    if (page.id === id) tellChecks(fresh);
  } catch {
    // said elsewhere; it is asked again with the next change
  }
  checking = false;
  if (page.id === id && !saving.idle) check();
}

function tellChecks(fresh) {
  const found = new Map(fresh.lines.map((line) => [line.line, line]));
  for (const card of cards) {
    const { status, broken } = found.get(card.line.line) ?? {};
    Object.assign(card.line, { status, broken });
    card.tellCheck();
  }
}

/** Accept a line, and with the last one the picture; then go on. */
function accept() {
  if (!page) return;
  const here = cards.indexOf(focused());
  const next = here < 0 ? null : nextAfter(here);
  if (!next) return acceptAll();
  const { line } = cards[here];
  if (line.state === "read") {
    line.state = "accepted";
    cards[here].seal();
    saving.save(unique(), [change(line)]);
    check();
  }
  gesture = unique();
  next.selectDoubtful();
}

/** The next line; of a form the next field that is asked about, after the last one the first. */
function nextAfter(here) {
  if (!page.form) return cards[here + 1];
  return [...cards.slice(here + 1), ...cards.slice(0, here)].find((card) => card.isAsked);
}

/** Whether a field is on a page of its form that is not there, and nobody has said what is in it. */
const isMissing = (line) => line.field && !line.box[2] && line.state === "read";

function acceptAll() {
  if (page.status === "error" && kept().length === 0) return onwards();
  const changes = [];
  for (const line of kept()) {
    if (line.kind === "text" || isMissing(line)) continue;
    if (!line.field && line.text.trim() === "") line.state = DELETED;
    else if (line.state === "read") line.state = "accepted";
    changes.push(change(line));
  }
  changes.push(state(kept().length ? "done" : "none"));
  saving.save(unique(), changes);
  count();
  onwards();
}

function sayNone() {
  if (!page) return;
  if (page.form) return sayEmpty();
  for (const line of kept()) line.state = DELETED;
  const removed = page.lines.filter((line) => line.state === DELETED);
  saving.save(unique(), [...removed.map(change), state("none")]);
  count();
  onwards();
}

/** Nothing is written in the field that has the focus. */
function sayEmpty() {
  const card = focused();
  if (!card?.control.clear) return;
  card.control.clear();
  accept();
}

function onwards() {
  const [next] = list.ahead(1);
  if (next) return go(next.id);
  remark = () => say("allDone");
  show();
  list.draw();
  at("desk").focus({ preventScroll: true });
}

function removeLine(line) {
  if (line.field) return; // the form has it
  const here = kept().indexOf(line);
  line.state = DELETED;
  saving.save(unique(), [change(line)]);
  show();
  focusLine(kept()[Math.min(here, kept().length - 1)]?.line);
}

function moveBox(line, box) {
  line.box = box;
  if (line.state !== "typed") line.state = "typed"; // somebody has decided
  saving.save(unique(), [change(line)]);
  show();
  sheet.focus(line.line);
}

function addLine(box) {
  const line = { line: `n${unique()}`, text: "", state: "typed", box, characters: [], confidence: null };
  page.lines.push(line);
  gesture = unique();
  saving.save(gesture, [change(line)]);
  sheet.drawing(false);
  at("add").setAttribute("aria-pressed", "false");
  show();
  focusLine(line.line);
}

/** With a mouse or a finger a box is drawn; with the keyboard it appears in the middle. */
function add(byKeyboard) {
  if (!page?.width || forForms()) return;
  at("whole").open = true;
  at("sheet").scrollIntoView({ block: "nearest" });
  if (!byKeyboard) {
    sheet.drawing(true);
    at("add").setAttribute("aria-pressed", "true");
    return;
  }
  const { width, height } = page;
  addLine([width / 3, (2 * height) / 5, width / 3, height / 5].map(Math.round));
  sheet.focus(page.lines.at(-1).line);
}

async function revert(way) {
  await saving.flush();
  try {
    const { pages } = await call(`/${way}`, saving.author);
    if (!pages) return;
    for (const id of pages) fetched.delete(id);
    const line = focused()?.line.line;
    await poll();
    await go(pages.includes(page?.id) ? page.id : pages[0], pages.includes(page?.id) ? line : null);
  } catch (error) {
    heard(error instanceof Gone ? "gone" : error);
  }
}

// News -----------------------------------------------------------------------------------------

function heard(what) {
  if (what === "saved") trouble = () => "";
  else if (what === "gone") trouble = () => say("lost");
  else trouble = () => say("refused", what.message);
  announce();
}

function announce() {
  at("gone").textContent = trouble();
  at("gone").hidden = !trouble();
}

function count() {
  const { read = 0, found = 0, finished = true, error = "" } = about.progress;
  const { done } = list;
  const parts = [say("counts", done, list.rows.size - done)];
  if (error) parts.push(say("stopped", error));
  else if (!finished) parts.push(say("reading", read, found));
  const text = parts.join(" · ");
  if (at("counts").textContent !== text) at("counts").textContent = text;
  const bar = at("done-bar").firstElementChild;
  bar.style.width = `${(100 * done) / Math.max(1, list.rows.size)}%`;
}

async function poll() {
  await take(await call(`?readings=${news.readings}&corrections=${news.corrections}`));
}

async function take(answer) {
  if (answer.database !== saving.database) return location.reload(); // another folder is served
  news = { readings: answer.readings, corrections: answer.corrections };
  about = answer;
  if (at("gone").textContent === say("lost") && saving.idle) heard("saved");
  // What this tab has not sent yet is newer than what the server says.
  const rows = answer.pages.map(asRow).filter((row) => saving.idle || row.id !== page?.id);
  list.update(rows);
  for (const { id } of rows) if (id !== page?.id) fetched.delete(id);
  count();
  tellLearning();
  if (!page && list.shown.length) await go(list.shown[0].id);
  else if (!page) at("remark").textContent = say(answer.progress.finished ? "noneHere" : "waiting");
  else if (rows.some((row) => row.id === page.id)) await refresh();
}

/** Take up what others have said of the picture on the desk. */
async function refresh() {
  const fresh = await call(`/pages/${page.id}`);
  if (!saving.idle || fresh.id !== page.id) return;
  const known = (one) =>
    JSON.stringify([one.state === "seen" ? "open" : one.state, one.lines.map((l) => [l.line, l.state, l.text, l.box])]);
  if (page.form) tellChecks(fresh);
  if (known(fresh) === known(page)) return;
  const line = focused()?.line.line;
  const typing = document.activeElement?.type === "text" && document.activeElement.closest(".card");
  const { selectionStart, selectionEnd } = typing ? document.activeElement : {};
  page = fresh;
  fetched.set(page.id, Promise.resolve({ detail: page, images: pictures }));
  show();
  const card = line === undefined ? null : cardOf(line);
  if (card && typing) {
    card.field.focus();
    card.field.setSelectionRange(selectionStart, selectionEnd);
  }
}

async function keepPolling() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL));
    if (document.hidden) continue;
    await poll().catch((error) => heard(error instanceof Gone ? "gone" : error));
  }
}

// Learning -------------------------------------------------------------------------------------

function tellLearning() {
  const { learning } = about;
  const { status = "idle" } = learning;
  const text = say("learning")[status];
  at("learned").textContent = typeof text === "function" ? text({ ...learning, forms: forForms() }) : text;
  at("learn").hidden = status === "running";
  at("stop").hidden = status !== "running";
  at("use").hidden = status !== "better";
}

for (const [id, what] of Object.entries({ learn: "start", stop: "stop", use: "use" })) {
  at(id).addEventListener("click", async () => {
    try {
      about.learning = await call(`/learning/${what}`, saving.author);
      tellLearning();
    } catch (error) {
      heard(error instanceof Gone ? "gone" : error);
    }
  });
}

// Keys and buttons -------------------------------------------------------------------------------

function move(by) {
  const fields = cards.filter((one) => !one.isPicture);
  const here = fields.indexOf(focused());
  const card = here < 0 ? null : fields[here + by];
  gesture = unique();
  if (card) return card.selectDoubtful();
  turn(by);
}

function turn(by) {
  const row = list.step(by);
  if (row) go(row.id);
}

const letters = {
  x: sayNone,
  r: () => (focused() ?? cards[0])?.swap(),
  n: () => {
    const card = focused() ?? cards[0];
    card?.selectDoubtful(card.isText ? card.field.selectionEnd : 0);
  },
  d: () => {
    const card = focused() ?? cards[0];
    if (card) removeLine(card.line);
  },
  b: () => add(true),
  w: () => {
    at("whole").open = !at("whole").open;
    if (at("whole").open) at("sheet").scrollIntoView({ block: "nearest" });
  },
  "?": () => at("help").click(),
};

const others = {
  Enter: accept,
  ArrowUp: () => move(-1),
  ArrowDown: () => move(1),
  PageUp: () => turn(-1),
  PageDown: () => turn(1),
};

addEventListener("keydown", (event) => {
  if (event.isComposing || event.defaultPrevented) return;
  const { target } = event;
  const field = target.classList?.contains("field");
  if (!field && target.matches?.("input, select, summary, a")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  let action = null;
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    if (key === "z") action = () => revert(event.shiftKey ? "redo" : "undo");
    else if (key === "y") action = () => revert("redo");
  } else if (!event.altKey && !event.ctrlKey) {
    action = letters[key] ?? others[key];
    if (target.matches?.("button") && key === "Enter") action = null;
    if (target.closest?.("#list") && key in others) action = null;
  }
  if (!action) return;
  event.preventDefault();
  action();
});

at("accept").addEventListener("click", acceptAllOrLine);
at("none").addEventListener("click", sayNone);
at("previous").addEventListener("click", () => turn(-1));
at("next").addEventListener("click", () => turn(1));
at("undo").addEventListener("click", () => revert("undo"));
at("redo").addEventListener("click", () => revert("redo"));
at("add").addEventListener("click", () => add(false));

/** The button stands for the whole picture: the focus is on it, not in a field. */
function acceptAllOrLine() {
  if (page) acceptAll();
}

function chooseFilter() {
  const name = at("filter").value;
  at("under-label").hidden = name !== "under";
  list.choose(name, Number(at("under").value) / 100);
  if (list.shown.length && !list.shown.some((row) => row.id === page?.id)) go(list.shown[0].id);
  else list.mark(page?.id ?? null);
}

at("filter").addEventListener("change", chooseFilter);
at("under").addEventListener("input", chooseFilter);
at("whole").addEventListener("toggle", () => page && showSheet());
at("user").addEventListener("change", () => remember("user", at("user").value.trim()));
at("help").addEventListener("click", () => {
  at("keys").hidden = !at("keys").hidden;
  at("help").setAttribute("aria-expanded", String(!at("keys").hidden));
});
new ResizeObserver(drawCards).observe(at("lines"));

// Language and theme -----------------------------------------------------------------------------

function speak() {
  fillIn();
  const chinese = document.documentElement.lang !== "en";
  at("language").textContent = chinese ? "English" : "中文";
  at("language").lang = chinese ? "en" : "zh-Hans";
  const chosen = at("filter").value || "left";
  const offered = filters.filter((name) => name !== "check" || forForms());
  at("filter").replaceChildren(...offered.map((name) => new Option(say("filters")[name], name)));
  at("filter").value = chosen;
  at("keys").replaceChildren(...say(forForms() ? "formKeys" : "keyList").map(keyRow));
  theme.name();
  announce();
  count();
  tellLearning();
  list.draw();
  if (page) {
    const line = focused()?.line.line;
    show();
    if (line !== undefined) focusLine(line);
  }
}

function keyRow([key, meaning]) {
  const row = document.createElement("div");
  const name = document.createElement("dt");
  const text = document.createElement("dd");
  name.textContent = key;
  text.textContent = meaning;
  row.append(name, text);
  return row;
}

const theme = new ThemeButton(at("theme"));

at("language").addEventListener("click", () => {
  switchLanguage();
  speak();
});

// Start ------------------------------------------------------------------------------------------

speak();
const start = await call("").catch((error) => heard(error instanceof Gone ? "gone" : error));
if (start) {
  at("folder").textContent = start.folder;
  document.title = `${start.folder} – Rowscan`;
  at("user").value = remembered("user") ?? start.user;
  saving.restore(start.database);
  about = start;
  speak();
  await take(start);
}
keepPolling();
