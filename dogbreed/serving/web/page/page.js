// Photos in, cards out. A photo's own bytes are sent, so that the answer is the command line's; only its preview is small.

import { Card, labelled } from "./card.js";
import { describeModel, percent, writeCurl, writeNames } from "./words.js";

const TOP_K = 5;
const MAX_AT_ONCE = 4; // requests under way: enough for the server to answer them as one batch
const MAX_TRIES = 8; // of a photo, while the server is busy
const LONGEST_WAIT_S = 60;
const PATIENCE_MS = 120_000;
const LARGE_BYTES = 1_000_000; // from here on, sending takes long enough to be shown

const byId = id => document.getElementById(id);
const address = path => new URL(path, document.baseURI).href;
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const notify = sentence => Object.assign(byId("notice"), { textContent: sentence, hidden: !sentence });

const names = new Map(); // class name → as a person would write it
const cards = new Map(); // article → its card
const queue = [];
let running = 0;
const tally = { asked: 0, answered: 0, failed: 0 };

// --- The model -------------------------------------------------------------------------------------------------------

async function introduce() {
  const model = await readModel();
  if (!model) {
    byId("lead").textContent = "";
    notify("The server does not answer: start it again (python -m dogbreed.serve), then reload this page.");
    return;
  }
  const { architecture = "", class_names: classNames = [], metrics = {}, explains = true } = model;
  writeNames(classNames).forEach((text, name) => names.set(name, text));
  byId("lead").textContent = describeModel(names, explains);
  addFact("Architecture", architecture.split(".")[0], architecture);
  addFact("Classes", names.size.toLocaleString("en"));
  const split = "test/acc_top1" in metrics ? "test" : "val";
  const [right, amongFive] = [metrics[`${split}/acc_top1`], metrics[`${split}/acc_top5`]];
  const where = `Right on ${split === "test" ? "test" : "validation"} pictures`;
  addFact(where, right === undefined ? "not measured" : percent(right), "top-1 accuracy");
  if (amongFive !== undefined && names.size > 5) addFact("Right among its top 5", percent(amongFive), "top-5 accuracy");
  byId("classes").querySelector("summary").textContent = `All ${names.size.toLocaleString("en")} classes`;
  byId("classes").querySelector("ul").append(...classNames.map(name => labelled("li", name, names)));
  byId("facts").hidden = byId("classes").hidden = false;
}

async function readModel() {
  for (;;) {
    const response = await fetch(address("model")).catch(() => null);
    if (response?.status !== 503) return response?.ok ? response.json() : null;
    byId("lead").textContent = "The server is loading its model …";
    await pause(1);
  }
}

function addFact(name, value, title = "") {
  const fact = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
  term.textContent = name;
  Object.assign(text, { textContent: value, title });
  fact.append(term, text);
  byId("facts").append(fact);
}

const introduced = introduce();

// --- Asking ----------------------------------------------------------------------------------------------------------

// XMLHttpRequest, as fetch does not tell how much has been sent.
function post(card) {
  return new Promise(done => {
    const request = card.request = new XMLHttpRequest();
    request.open("POST", address(`invocations?top_k=${TOP_K}&explain=true`));
    request.setRequestHeader("Content-Type", card.type);
    request.setRequestHeader("Accept", "application/json");
    request.timeout = PATIENCE_MS;
    if (card.file.size > LARGE_BYTES) request.upload.onprogress = ({ loaded, total }) => card.showSending(loaded / total);
    let isLate = false;
    request.ontimeout = () => { isLate = true; };
    request.onloadend = () => {
      let body = {};
      try { body = JSON.parse(request.responseText) ?? {}; } catch { /* nothing, or a proxy's page */ }
      done({ status: request.status, body, isLate, seconds: Number(request.getResponseHeader("Retry-After")) || 1 });
    };
    request.send(card.file);
  });
}

async function ask(card) {
  await introduced;
  for (let tries = 1; !card.isStopped; tries++) {
    const reply = await post(card), { status, body } = reply;
    if (status === 200 && body.top?.length) {
      await card.preview;
      return finish(card, "answered", () => card.answer(body));
    }
    const isBusy = status === 429 || status === 503;
    if (!isBusy || tries === MAX_TRIES || card.isStopped) {
      const sentence = await explain(card, reply), isItsFault = status >= 400 && status < 500 && !isBusy && status !== 408;
      return finish(card, "failed", () => card.fail(sentence, !isItsFault));
    }
    await wait(card, body.error ?? "The server is busy.", Math.min(Math.ceil(reply.seconds), LONGEST_WAIT_S));
  }
  return finish(card, "failed", () => card.fail("Stopped.", true));
}

async function wait(card, sentence, seconds) {
  for (let left = seconds; left > 0 && !card.isStopped; left--) {
    card.say("Waiting …", `${sentence} Trying again in ${left} s.`, "Busy", "busy");
    await pause(1);
  }
  card.say("Looking …");
}

async function explain(card, { status, body, isLate }) {
  if (card.isStopped) return "Stopped.";
  if (body.error) return body.error;
  if (status) return `The server answered with status ${status} and without a sentence.`;
  if (isLate) return `No answer within ${PATIENCE_MS / 60_000} minutes.`;
  try {
    await card.file.slice(0, 1).arrayBuffer();
  } catch {
    return "This file cannot be read: it is a folder, or it was moved or changed.";
  }
  const isAlive = await fetch(address("ping")).then(response => response.ok, () => false);
  if (!isAlive) return "The server does not answer: start it again, then try again.";
  const size = (card.file.size / 1e6).toFixed(1);
  return `The server hung up before it had all of the file: at ${size} MB it may be larger than the server takes.`;
}

function finish(card, outcome, show) {
  if (!cards.has(card.node)) return; // removed meanwhile
  tally[outcome]++;
  const sentence = show(), { asked, answered, failed } = tally;
  const all = `${answered} of ${asked} answered${failed ? `, ${failed} without an answer` : ""}`;
  byId("status").textContent = asked === 1 ? `${card.file.name}: ${sentence}` : `${all}${answered + failed < asked ? " …" : "."}`;
}

function pump() {
  while (running < MAX_AT_ONCE && queue.length) {
    running++;
    ask(queue.shift()).finally(() => { running--; pump(); });
  }
}

function enqueue(some) {
  if (running + queue.length === 0) Object.assign(tally, { asked: 0, answered: 0, failed: 0 });
  tally.asked += some.length;
  some.forEach(card => card.start());
  queue.push(...some);
  byId("status").textContent = some.length === 1 ? `Looking at ${some[0].file.name} …` : `Looking at ${some.length} photos …`;
  pump();
}

// --- Cards -----------------------------------------------------------------------------------------------------------

function add(files, nothing, curlOf = writeCurl) {
  notify(files.length ? "" : nothing);
  const added = [...files].map(file => {
    // The bytes decide what it is; a browser that does not know says nothing.
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    const card = new Card(file, names, curlOf(file.name, type, address("invocations")));
    card.type = type;
    cards.set(card.node, card);
    return card;
  });
  byId("cards").prepend(...added.map(card => card.node));
  if (added.length) enqueue(added);
  tidy();
  // On a phone the answer would come below what one sees.
  if (added[0]?.node.getBoundingClientRect().top > 0.6 * innerHeight) added[0].node.scrollIntoView();
}

function remove(card) {
  const next = card.node.nextElementSibling ?? card.node.previousElementSibling;
  (next?.querySelector(".remove") ?? byId("choose")).focus();
  drop(card);
  tidy();
}

function drop(card) {
  cards.delete(card.node);
  card.isStopped = true;
  card.request?.abort();
  if (queue.includes(card)) queue.splice(queue.indexOf(card), 1);
  if (card.node.ariaBusy) tally.asked--;
  card.node.remove();
}

function tidy() {
  document.body.classList.toggle("has-cards", cards.size > 0);
  byId("clear").hidden = cards.size < 2;
  if (cards.size === 0) byId("status").textContent = "";
}

function tryAgain(card) {
  // What one server did not answer, it may answer now: all of it.
  const lost = [...cards.values()].filter(other => other.node.querySelector(".again:not([hidden])"));
  card.find(".remove").focus();
  enqueue(lost);
}

async function copy(card) {
  const code = card.find(".curl code"), button = card.find(".copy");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch { // only https and this machine have a clipboard
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  byId("status").textContent = "Copied the command.";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

async function tryExample() {
  const response = await fetch(address("example.jpg")).catch(() => null);
  if (!response?.ok) {
    notify(response ? "This model folder holds no example." : "The server does not answer: start it again.");
    return;
  }
  const file = new File([await response.blob()], "example.jpg", { type: "image/jpeg" });
  add([file], "", (_, type, url) => `curl -s ${address("example.jpg")} | ${writeCurl("-", type, url)}`);
}

byId("cards").addEventListener("click", ({ target }) => {
  const card = cards.get(target.closest(".card"));
  if (target.closest(".remove")) remove(card);
  if (target.closest(".again")) tryAgain(card);
  if (target.closest(".copy")) copy(card);
});

// --- Ways in ---------------------------------------------------------------------------------------------------------

const hasFiles = event => event.dataTransfer?.types.includes("Files");
for (const [button, input] of [["choose", "files"], ["camera", "shot"]]) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", ({ target }) => {
    if (target.files.length) add(target.files, "");
    target.value = ""; // the same file may come again
  });
}
byId("example").addEventListener("click", tryExample);
byId("clear").addEventListener("click", () => {
  byId("choose").focus();
  [...cards.values()].forEach(drop);
  tidy();
});
document.addEventListener("dragover", event => {
  event.preventDefault(); // a photo that misses would replace the page
  if (hasFiles(event)) document.body.classList.add("dragging");
});
document.addEventListener("dragleave", event => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  add(event.dataTransfer.files, "That was no file: save the picture first, then drop its file.");
});
document.addEventListener("paste", ({ clipboardData }) => add(clipboardData.files, "There is no picture on the clipboard."));
document.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  document.body.classList.remove("dragging");
  const card = cards.get(event.target.closest(".card"));
  if (card?.node.ariaBusy) {
    card.isStopped = true;
    card.request?.abort();
  } else if (byId("classes").open) {
    byId("classes").open = false;
    if (byId("classes").contains(event.target)) byId("classes").querySelector("summary").focus();
  }
});
if (/Mac|iPhone|iPad/.test(navigator.platform)) document.querySelector("kbd").textContent = "⌘";
