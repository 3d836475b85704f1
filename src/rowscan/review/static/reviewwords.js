// Reviewwords: the texts of the review, in each language, added to those of the other page.

import { inWords, teach } from "./words.js";

/** What may be in a field, in the words of a language. */
function expectation(words, { kind, digits, range, format, pattern }) {
  const limits = range ? words.range(...range) : "";
  if (pattern) return words.pattern(pattern);
  if (kind === "date") return words.date(format);
  if (kind === "number") return range ? words.number(limits) : "";
  if (kind === "digits") return [digits ? words.digits(digits) : "", limits].filter(Boolean).join(", ");
  return "";
}

// Fewer pictures more than before can be chance: even where none got worse, four heads in a row come
// up once in 16 (sign test).
const SURELY_MORE = 5;

const CHECK_DIGIT = /^(.+) has a wrong check digit \((\w+)\)$/;
const NOT_LISTED = /^(.+) is not in (.+)$/;
const REPEATED = /^(.+) is also in (.+)$/;
const NO_FORM = /^not (.+): its print is not found$/;
const FEW_FIELDS = /^not .+: the print is found around (\d+%) of the fields of '(.+)'$/;
const FEW_WORDS = /^not .+: (\d+%) of the words of '(.+)' are found; it may be another edition$/;
const OTHER_CODE = /^not .+: its code says (.+)$/;
const NO_CODE = /^not .+: its code cannot be read, and forms look alike$/;
const NOT_THE_SUM = /^(\S+) is not (\S+( \+ \S+)*)$/;

const english = {
  keys: "Keys",
  previous: "Previous picture",
  next: "Next picture",
  add: "Add a line",
  none: "No number here",
  accept: "Accept",
  whole: "Whole picture",
  wholeNote:
    "Drag over the paper to add a line. Drag a box to move it, its corner to resize it. " +
    "With the keyboard: arrows move the box, Shift and arrows resize it, Delete removes it.",
  pictures: "Pictures",
  filter: "Show",
  underLabel: "Confidence in percent",
  filters: {
    left: "To do",
    unseen: "Not yet seen",
    under: "Confidence under",
    check: "Breaks a rule",
    empty: "Nothing read",
    errors: "Could not be read",
    done: "Done",
    all: "All",
  },
  listed: (n) => `${n.toLocaleString("en")} pictures`,
  counts: (done, left) => `${done.toLocaleString("en")} done, ${left.toLocaleString("en")} left`,
  reading: (read, found) => `reading ${read.toLocaleString("en")} of ${found.toLocaleString("en")}`,
  stopped: (reason) => `reading stopped: ${reason}`,
  save: "Save the result",
  learn: "Learn from the corrections",
  learnStart: "Start",
  learnStop: "Stop",
  learnUse: "Use the new model",
  learning: {
    idle: ({ forms }) =>
      `A model is trained on what you have accepted and typed; one ${forms ? "form" : "picture"} in five is held back to measure it.`,
    running: ({ share }) => `Training, ${Math.round(100 * share)}% done. You can go on reviewing.`,
    better: ({ held_back, before, after, forms }) =>
      `Of ${held_back} ${forms ? "fields" : "pictures"} held back the new model reads ${after} exactly, the one in use ${before}.` +
      (after === before ? " It gets fewer characters wrong." : "") +
      (after - before < SURELY_MORE ? " So small a difference can be chance." : ""),
    "not better": ({ held_back, before, after, forms }) =>
      `No gain: of ${held_back} ${forms ? "fields" : "pictures"} held back the new model reads ${after} exactly, the one in use ${before}. The old one stays.`,
    failed: ({ reason }) => `The training failed: ${reason}`,
    used: ({ run }) => `The new model is in use (${run}). What is not done is read again.`,
  },
  who: "Your name",
  field: (i, n) => `Text of line ${i} of ${n}`,
  crop: (i, n) => `Line ${i} of ${n} as it is written`,
  doubt: (read, percent, rival) => `${read}, ${percent} sure${rival ? `; perhaps ${rival}` : ""}`,
  or: (rival) => `or ${rival}`,
  fieldOf: (name) => `Field ${name}`,
  ticked: "ticked",
  notTicked: "not ticked",
  noOption: "none",
  noForm: "No form here",
  expected: (field) =>
    expectation(
      {
        digits: (n) => (n === 1 ? "1 digit" : `${n} digits`),
        range: (low, high) => `${low} to ${high}`,
        number: (limits) => `a number, ${limits}`,
        date: (format) => `a day as ${format}`,
        pattern: (pattern) => `as ${pattern}`,
      },
      field,
    ),
  fieldStates: {
    unsure: "nothing that may be here fits",
    incomplete: "too few digits",
    invalid: "does not fit",
    unreadable: "hidden, or not in its place",
    missing: "its page is missing",
    "required, and empty": "required",
  },
  rule: (rule) => rule,
  remove: "Remove this line",
  area: (text) => `Box of ${text || "a new line"}`,
  corner: "Resize",
  page: (name, number) => `${name}, page ${number}`,
  states: { open: "", seen: "", done: "✓ done", none: "✓ no number" },
  nothingRead: "Nothing was read here. Accept if that is right, or add a line.",
  notReadable: (reason) => `This picture could not be read: ${reason}`,
  allDone: "All of these are done.",
  noneHere: "No pictures here.",
  waiting: "The first picture is being read …",
  lost: "The service does not answer. What you type is kept in this browser and saved when it is back.",
  refused: (reason) => `This was not saved: ${reason}`,
  nothingLeft: "nothing",
  keyList: [
    ["Enter", "accept the line and go on"],
    ["↑ ↓", "line or picture before, after"],
    ["r", "take the runner-up of a doubtful character"],
    ["n", "next doubtful character"],
    ["x", "no number here"],
    ["d", "remove the line"],
    ["b", "add a line: a box, moved with arrows, Enter"],
    ["w", "whole picture"],
    ["Ctrl Z, Ctrl Y", "undo, redo"],
    ["?", "this list"],
  ],
  formKeys: [
    ["Enter", "accept the field, go to the next doubtful one; after the last accept the form"],
    ["↑ ↓", "field or form before, after"],
    ["Space", "tick, or take the tick away"],
    ["← →", "another option"],
    ["r", "take the runner-up of a doubtful character"],
    ["n", "next doubtful character"],
    ["x", "the field is empty; without a form: no form here"],
    ["w", "whole picture"],
    ["Ctrl Z, Ctrl Y", "undo, redo"],
    ["?", "this list"],
  ],
};

const chinese = {
  keys: "按键",
  previous: "上一张",
  next: "下一张",
  add: "添加一行",
  none: "没有数字",
  accept: "确认",
  whole: "整张图片",
  wholeNote:
    "在图片上拖动可添加一行；拖动方框可移动，拖动右下角可调整大小。" +
    "用键盘：方向键移动方框，Shift 加方向键调整大小，Delete 删除。",
  pictures: "图片",
  filter: "显示",
  underLabel: "置信度（百分比）",
  filters: {
    left: "待处理",
    unseen: "尚未查看",
    under: "置信度低于",
    check: "违反规则",
    empty: "没有读出内容",
    errors: "无法读取",
    done: "已完成",
    all: "全部",
  },
  listed: (n) => `${n.toLocaleString("zh")} 张`,
  counts: (done, left) => `已完成 ${done.toLocaleString("zh")}，剩余 ${left.toLocaleString("zh")}`,
  reading: (read, found) => `正在识别 ${read.toLocaleString("zh")} / ${found.toLocaleString("zh")}`,
  stopped: (reason) => `识别已停止：${reason}`,
  save: "保存结果",
  learn: "从更正中学习",
  learnStart: "开始",
  learnStop: "停止",
  learnUse: "使用新模型",
  learning: {
    idle: ({ forms }) =>
      `用您确认和输入的内容训练模型；每五张${forms ? "表格" : "图片"}留出一张，用来检验效果。`,
    running: ({ share }) => `正在训练，已完成 ${Math.round(100 * share)}%。您可以继续工作。`,
    better: ({ held_back, before, after, forms }) =>
      (forms
        ? `在留出的 ${held_back} 个字段中，新模型完全读对 ${after} 个，现用模型读对 ${before} 个。`
        : `在留出的 ${held_back} 张图片中，新模型完全读对 ${after} 张，现用模型读对 ${before} 张。`) +
      (after === before ? "读错的字符更少。" : "") +
      (after - before < SURELY_MORE ? "差别很小，可能只是偶然。" : ""),
    "not better": ({ held_back, before, after, forms }) =>
      forms
        ? `没有提高：在留出的 ${held_back} 个字段中，新模型完全读对 ${after} 个，现用模型读对 ${before} 个。继续使用旧模型。`
        : `没有提高：在留出的 ${held_back} 张图片中，新模型完全读对 ${after} 张，现用模型读对 ${before} 张。继续使用旧模型。`,
    failed: ({ reason }) => `训练失败：${reason}`,
    used: ({ run }) => `正在使用新模型（${run}）。未完成的图片会重新识别。`,
  },
  who: "您的姓名",
  field: (i, n) => `第 ${i} 行的文字，共 ${n} 行`,
  crop: (i, n) => `第 ${i} 行的原图，共 ${n} 行`,
  doubt: (read, percent, rival) => `${read}，置信度 ${percent}${rival ? `；也可能是 ${rival}` : ""}`,
  or: (rival) => `或 ${rival}`,
  fieldOf: (name) => `字段 ${name}`,
  ticked: "已勾选",
  notTicked: "未勾选",
  noOption: "无",
  noForm: "没有表格",
  expected: (field) =>
    expectation(
      {
        digits: (n) => `${n} 位数字`,
        range: (low, high) => `${low} 到 ${high}`,
        number: (limits) => `数值，${limits}`,
        date: (format) => `日期，格式 ${format}`,
        pattern: (pattern) => `格式 ${pattern}`,
      },
      field,
    ),
  fieldStates: {
    unsure: "没有符合要求的内容",
    incomplete: "位数不足",
    invalid: "不符合要求",
    unreadable: "被遮挡或位置不对",
    missing: "缺少这一页",
    "required, and empty": "必填",
  },
  rule: (rule) =>
    inWords(
      [
        [CHECK_DIGIT, (text, method) => `${text} 的校验位不正确（${method}）`],
        [NOT_LISTED, (text, file) => `${text} 不在 ${file} 中`],
        [REPEATED, (text, path) => `${text} 与 ${path} 中的重复`],
        [NOT_THE_SUM, (total, terms) => `${total} 不等于 ${terms}`],
      ],
      rule,
    ),
  remove: "删除这一行",
  area: (text) => `${text || "新的一行"} 的方框`,
  corner: "调整大小",
  page: (name, number) => `${name}，第 ${number} 页`,
  states: { open: "", seen: "", done: "✓ 已完成", none: "✓ 没有数字" },
  nothingRead: "这里没有读出内容。如果没错，请确认；否则请添加一行。",
  notReadable: (reason) => {
    const said = inWords(
      [
        [NO_FORM, (forms) => `没有找到 ${forms.replaceAll(" or ", " 或 ")} 的印刷内容`],
        [FEW_FIELDS, (share, form) => `只在 ${form} 的 ${share} 的字段周围找到印刷内容`],
        [OTHER_CODE, (code) => `它的二维码或条形码是 ${code}，不是这些表格的`],
        [NO_CODE, () => "它的二维码或条形码无法读取，而有几种表格看起来一样"],
        [FEW_WORDS, (share, form) => `只找到 ${form} 的 ${share} 的印刷文字，可能是另一个版本`],
      ],
      reason,
    );
    return `这张图片无法读取：${said}`;
  },
  allDone: "这些都已完成。",
  noneHere: "这里没有图片。",
  waiting: "正在识别第一张图片……",
  lost: "服务没有响应。您输入的内容保存在此浏览器中，服务恢复后会自动提交。",
  refused: (reason) => `未能保存：${reason}`,
  nothingLeft: "无",
  keyList: [
    ["Enter", "确认这一行并继续"],
    ["↑ ↓", "上一行（张）、下一行（张）"],
    ["r", "把存疑的字符换成第二候选"],
    ["n", "下一个存疑的字符"],
    ["x", "没有数字"],
    ["d", "删除这一行"],
    ["b", "添加一行：用方向键移动方框，再按 Enter"],
    ["w", "整张图片"],
    ["Ctrl Z，Ctrl Y", "撤销，重做"],
    ["?", "显示此列表"],
  ],
  formKeys: [
    ["Enter", "确认字段并转到下一个存疑字段；全部确认后确认表格"],
    ["↑ ↓", "上一个、下一个字段（表格）"],
    ["空格", "勾选或取消勾选"],
    ["← →", "选择其他选项"],
    ["r", "把存疑的字符换成第二候选"],
    ["n", "下一个存疑的字符"],
    ["x", "字段为空；不是表格时：没有表格"],
    ["w", "整张图片"],
    ["Ctrl Z，Ctrl Y", "撤销，重做"],
    ["?", "显示此列表"],
  ],
};

teach({ en: english, zh: chinese });
