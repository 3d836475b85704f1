// Words: all texts of the page, in each of its languages.

const english = {
  tagline: "Write a number. See it read, row by row.",
  dark: "Dark",
  light: "Light",
  writeTitle: "Write",
  paper: "Paper to write on with mouse, finger or pen",
  photoAlt: "The image that is being read",
  hint: "Write a number here",
  undo: "Undo",
  redo: "Redo",
  examples: "Or try one of these:",
  exampleNote: "A note with three numbers",
  exampleCheque: "A cheque",
  exampleBoard: "A number on a blackboard",
  correct: "The text; correct it here",
  copy: "Copy",
  copied: "Copied",
  download: "Download",
  clear: "Clear",
  choose: "Open files",
  photograph: "Take photo",
  dropNote: "Images and PDF, one or several. You can also drop them here, or paste.",
  before: "Picture before",
  after: "Next picture",
  which: (place, n, name) => `${place} of ${n}${name ? ` · ${name}` : ""}`,
  page: (name, number) => `${name}, page ${number}`,
  readSoFar: (read, n) => `${read} of ${n} read`,
  keep: "Keep what I correct as a sample, on this machine",
  kept: (n, folder) => `Kept: ${n} in ${folder}`,
  notKept: (reason) => `Not kept: ${reason}`,
  answerTitle: "Reading",
  beliefTitle: "How the belief grew",
  beliefHint: "Once there is a number, this shows what the network thought at each step along it.",
  viewLine: "Along the line",
  viewRows: "Down the digit",
  rowsNote: "Another network, which knows single digits alone, reads the selected one row by row.",
  strip: "The line as the network saw it, and below it how probable each character was at each step",
  saw: "What the network saw",
  heat: "Belief in each of the ten digits, from the first row to the last",
  slider: "Steps that have been read",
  play: "Replay",
  privacy: "Pictures are read on the machine that serves this page, and not kept unless you say so.",
  api: "For programs: the HTTP interface",
  nothing: "Nothing written yet",
  noDigit: "No digit",
  noDigitRemark: "There is nothing here that looks like a digit.",
  sure: (percent) => `${percent} sure of all of it`,
  read: (text, percent) => `Read: ${text}, ${percent} sure`,
  rival: (digit, percent) => `or ${digit}, ${percent}`,
  digitLabel: (digit, percent) => `${digit}, ${percent} sure. Show how it was read.`,
  row: (step, steps) => `Row ${step} of ${steps}`,
  step: (step, steps) => `Step ${step} of ${steps}`,
  believed: (when, digit, percent) => `${when}: ${digit}, ${percent}`,
  undecided: (when) => `${when}: undecided`,
  nothingNew: (when) => `${when}: no new character`,
  lookedAgain: (text) => `It was unsure and looked again, at altered copies: ${text}.`,
  path: (digits) => `On the way it was taken for ${digits.join(", then ")}.`,
  gone: "The service does not answer. What you wrote is kept, and read when the service is back.",
  busy: "The service is busy. Trying again.",
  tooLarge: "This image is too large.",
  notImage: "This file is not an image that can be read here.",
  damaged: "This image is damaged.",
  failed: (detail) => `This could not be read: ${detail}`,
};

const chinese = {
  tagline: "写一个数字，看它一行一行地被读出来。",
  dark: "深色",
  light: "浅色",
  writeTitle: "书写",
  paper: "用鼠标、手指或触控笔书写的纸面",
  photoAlt: "正在识别的图片",
  hint: "在这里写一个数字",
  undo: "撤销",
  redo: "重做",
  examples: "或试试这些：",
  exampleNote: "写着三个数的便条",
  exampleCheque: "一张支票",
  exampleBoard: "黑板上的一个数",
  correct: "识别出的文字，可在此更正",
  copy: "复制",
  copied: "已复制",
  download: "下载",
  clear: "清空",
  choose: "打开文件",
  photograph: "拍照",
  dropNote: "图片或 PDF，一个或多个。也可以拖到这里，或直接粘贴。",
  before: "上一张",
  after: "下一张",
  which: (place, n, name) => `第 ${place} 张，共 ${n} 张${name ? ` · ${name}` : ""}`,
  page: (name, number) => `${name}，第 ${number} 页`,
  readSoFar: (read, n) => `已识别 ${read} / ${n}`,
  keep: "把我更正的内容保存为样本（只在这台机器上）",
  kept: (n, folder) => `已保存：${folder} 中共 ${n} 个`,
  notKept: (reason) => `未保存：${reason}`,
  answerTitle: "识别结果",
  beliefTitle: "判断是怎样形成的",
  beliefHint: "写下数字之后，这里会显示网络从左到右每一步的判断。",
  viewLine: "沿着整行",
  viewRows: "自上而下看一个数字",
  rowsNote: "另一个只认识单个数字的网络，逐行读取选中的数字。",
  strip: "网络看到的一行，以及每一步各字符的概率",
  saw: "网络看到的图像",
  heat: "从第一行到最后一行，对十个数字各自的置信度",
  slider: "已读的步数",
  play: "重播",
  privacy: "图片只在提供本页面的机器上识别；除非您要求，否则不会保留。",
  api: "供程序使用：HTTP 接口",
  nothing: "还没有写",
  noDigit: "没有数字",
  noDigitRemark: "这里没有看起来像数字的内容。",
  sure: (percent) => `整体置信度 ${percent}`,
  read: (text, percent) => `识别为 ${text}，置信度 ${percent}`,
  rival: (digit, percent) => `或 ${digit}，${percent}`,
  digitLabel: (digit, percent) => `${digit}，置信度 ${percent}。查看它是怎样被读出的。`,
  row: (step, steps) => `第 ${step} 行，共 ${steps} 行`,
  step: (step, steps) => `第 ${step} 步，共 ${steps} 步`,
  believed: (when, digit, percent) => `${when}：${digit}，${percent}`,
  undecided: (when) => `${when}：尚未判断`,
  nothingNew: (when) => `${when}：没有新的字符`,
  lookedAgain: (text) => `它不太确定，又看了几个变形的副本：${text}。`,
  path: (digits) => `读的过程中曾先后认为是 ${digits.join("、")}。`,
  gone: "服务没有响应。您写的内容还在，服务恢复后会自动识别。",
  busy: "服务繁忙，正在重试。",
  tooLarge: "这张图片太大。",
  notImage: "这个文件不是可以识别的图片。",
  damaged: "这张图片已损坏。",
  failed: (detail) => `无法识别：${detail}`,
};

const languages = { en: english, zh: chinese };
let language = preferred();

function preferred() {
  const known = remembered("language");
  if (known in languages) return known;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function remembered(name) {
  try {
    return localStorage.getItem(`rowscan.${name}`);
  } catch {
    return null; // storage may be forbidden
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`rowscan.${name}`, value);
  } catch {
    // then it holds until the page is closed
  }
}

/** Add the texts of another page. */
export function teach(more) {
  for (const [name, texts] of Object.entries(more)) Object.assign(languages[name], texts);
}

/** The text for `name` in the language of the page. */
export function say(name, ...values) {
  const text = languages[language][name];
  return typeof text === "function" ? text(...values) : text;
}

/** What the service says in English, by patterns and what each is in another language. */
export function inWords(words, said) {
  for (const [pattern, word] of words) {
    const found = said.match(pattern);
    if (found) return word(...found.slice(1));
  }
  return said;
}

export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  remember("language", language);
}

/** Put the texts into the elements that are marked for them. */
export function fillIn() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = say(element.dataset.words);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
  for (const element of document.querySelectorAll("[data-alt]")) {
    element.alt = say(element.dataset.alt);
  }
}

/** Whole percents. The service rounds, so 1 does not mean certainty. */
export function percent(probability) {
  return probability >= 0.995 ? ">99%" : `${Math.round(100 * probability)}%`;
}
