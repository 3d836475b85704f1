// Designerwords: the texts of the page for a new form, in each language.

import { inWords, teach } from "./words.js";

/** What the service refuses, in Chinese. */
const REASONS = [
  [/^field '(.+)': name: another field has it too$/, (name) => `有两个字段都叫“${name}”`],
  [
    /^field '(.+)': name: a column of the table has it already; .+$/,
    (name) => `“${name}”已是表格中一列的名称，请另选一个`,
  ],
  [/^field '(.+)': name: expected .+$/, (name) => `字段名“${name}”不能有空格、= 或逗号，最多 60 个字符`],
  [/^field (\d+): name: expected .+$/, (number) => `第 ${number} 个字段需要名称`],
  [
    /^field '(.+)': options: .+ got (\d+) for (\d+) boxes$/,
    (name, got, boxes) => `字段“${name}”有 ${boxes} 个格，但有 ${got} 个选项`,
  ],
  [/^field '(.+)': range: .+$/, (name) => `字段“${name}”的最小值大于最大值`],
  [
    /^field '(.+)': format: .+ got '(.*)'$/,
    (name, format) => `字段“${name}”的日期格式应由 dd、mm 和 yyyy 或 yy 组成，而不是“${format}”`,
  ],
  [/^field '(.+)': pattern: (.+)$/, (name, said) => `字段“${name}”的正则表达式有误：${said}`],
  [/^field '(.+)': (\w+): (.+)$/, (name, key, said) => `字段“${name}”的 ${key} 有误：${said}`],
  [/cannot be written: (.+)$/, (said) => `文件无法写入：${said}`],
];

const english = {
  keys: "Keys",
  addField: "Add a field",
  designNote:
    "Drag over the paper to add a field. Drag a field to move it, its corner to resize it.",
  fieldsTitle: (n) => `${n} fields`,
  saved: (file) => `Saved in ${file}`,
  notSaved: "Not saved yet",
  refused: (reason) => `Not saved: ${reason}`,
  lost: "The service does not answer. Start it again to save.",
  kinds: {
    digits: "digits",
    number: "number",
    date: "date",
    choice: "choice",
    tick: "tick",
    text: "text (picture)",
  },
  nameOf: (n) => `Name of field ${n}`,
  kindOf: (name) => `Kind of ${name}`,
  removeField: (name) => `Remove ${name}`,
  area: (name) => `Field ${name}`,
  boxes: "boxes",
  decimals: "decimals",
  format: "format",
  options: "options",
  pattern: "pattern",
  least: "from",
  most: "to",
  required: "required",
  page: (n) => `Page ${n}`,
  keyList: [
    ["↑ ↓ ← →", "move the field"],
    ["Shift ↑ ↓ ← →", "resize it"],
    ["Alt ↑ ↓ ← →", "move it by one pixel"],
    ["1 … 6", "digits, number, date, choice, tick, text"],
    ["Enter", "name it"],
    ["a", "add a field"],
    ["Delete", "remove it"],
    ["Ctrl Z, Ctrl Y", "undo, redo"],
    ["?", "this list"],
  ],
};

const chinese = {
  keys: "按键",
  addField: "添加字段",
  designNote: "在纸面上拖动可添加字段；拖动字段可移动，拖动右下角可调整大小。",
  fieldsTitle: (n) => `${n} 个字段`,
  saved: (file) => `已保存到 ${file}`,
  notSaved: "尚未保存",
  refused: (reason) => `未保存：${inWords(REASONS, reason)}`,
  lost: "服务没有响应。请重新启动后再保存。",
  kinds: {
    digits: "数字编号",
    number: "数值",
    date: "日期",
    choice: "单选",
    tick: "勾选",
    text: "文字（存为图片）",
  },
  nameOf: (n) => `第 ${n} 个字段的名称`,
  kindOf: (name) => `${name} 的类型`,
  removeField: (name) => `删除 ${name}`,
  area: (name) => `字段 ${name}`,
  boxes: "格数",
  decimals: "小数位",
  format: "格式",
  options: "选项",
  pattern: "正则表达式",
  least: "最小",
  most: "最大",
  required: "必填",
  page: (n) => `第 ${n} 页`,
  keyList: [
    ["↑ ↓ ← →", "移动字段"],
    ["Shift ↑ ↓ ← →", "调整大小"],
    ["Alt ↑ ↓ ← →", "移动一个像素"],
    ["1 … 6", "数字编号、数值、日期、单选、勾选、文字"],
    ["Enter", "命名"],
    ["a", "添加字段"],
    ["Delete", "删除"],
    ["Ctrl Z，Ctrl Y", "撤销，重做"],
    ["?", "显示此列表"],
  ],
};

teach({ en: english, zh: chinese });
