// A photo's card: its picture, and what the server says of it.

import { drawHeat, nameBrightest } from "./heat.js";
import { describeFamiliarity, describeSureness, percent } from "./words.js";

const PREVIEW_PX = 720; // longest side
let drawn = Promise.resolve(); // one after the other: a large photo takes hundreds of megabytes while it is decoded
let isHeatShown = true;

export function labelled(tag, name, names) {
  const node = document.createElement(tag);
  node.textContent = names.get(name) ?? name;
  node.title = name;
  return node;
}

export class Card {
  constructor(file, names, curl) {
    Object.assign(this, { file, names, isDrawn: false, isStopped: false });
    this.node = document.getElementById("card").content.cloneNode(true).firstElementChild;
    this.find(".file").textContent = this.find(".file").title = file.name;
    this.node.setAttribute("aria-label", file.name);
    this.find(".photo").setAttribute("aria-label", file.name);
    this.find(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.find(".curl code").textContent = curl;
    this.find(".switch").addEventListener("click", () => this.turnHeat(!this.isHeatOn));
    this.preview = drawn = drawn.then(() => this.draw());
  }

  find(query) { return this.node.querySelector(query); }

  async draw() {
    const photo = this.find(".photo");
    try {
      const picture = await createImageBitmap(this.file); // upright, as the server sees it
      const scale = Math.min(1, PREVIEW_PX / Math.max(picture.width, picture.height));
      photo.width = Math.max(1, Math.round(scale * picture.width));
      photo.height = Math.max(1, Math.round(scale * picture.height));
      const context = photo.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.fillStyle = "#fff"; // beneath what is transparent, as the server has it
      context.fillRect(0, 0, photo.width, photo.height);
      context.drawImage(picture, 0, 0, photo.width, photo.height);
      this.find(".frame").style.setProperty("--ratio", photo.width / photo.height);
      picture.close();
      this.isDrawn = true;
    } catch {
      this.find(".placeholder").hidden = false;
    }
    photo.hidden = !this.isDrawn;
  }

  say(heading, words = "", badge = "", tone = "plain") {
    this.find("h2").textContent = heading;
    this.find("h2").title = "";
    this.find(".words").textContent = words;
    Object.assign(this.find(".badge"), { textContent: badge, hidden: !badge, className: `badge ${tone}` });
  }

  start() {
    this.isStopped = false;
    this.node.setAttribute("aria-busy", true);
    this.node.classList.remove("failed");
    this.find(".again").hidden = true;
    this.find(".bars").setAttribute("aria-hidden", true);
    this.find(".bars").replaceChildren(...Array.from({ length: 5 }, () => document.createElement("li")));
    this.say("Looking …");
  }

  showSending(share) {
    this.find(".sending").hidden = share >= 1;
    this.find(".sending i").style.setProperty("--share", `${100 * share}%`);
    this.say(share < 1 ? "Sending …" : "Looking …");
  }

  end() {
    this.node.removeAttribute("aria-busy");
    this.find(".sending").hidden = true;
    this.find(".bars").removeAttribute("aria-hidden");
    this.find(".bars").replaceChildren();
  }

  fail(sentence, canTryAgain) {
    this.end();
    this.node.classList.add("failed");
    this.say("No answer", sentence);
    this.find(".bars").setAttribute("aria-hidden", true);
    this.find(".again").hidden = !canTryAgain;
    return sentence;
  }

  answer(answer) {
    this.end();
    const { top, explanation, unlike_training_data: isUnlike } = answer;
    const best = this.names.get(top[0].label) ?? top[0].label, { badge, tone, words } = describeSureness(top, this.names);
    if (isUnlike) {
      this.say("Probably something else", `This picture is unlike the training data: perhaps none of the ${this.names.size} `
        + `classes is right, whatever the percentages say. The nearest is ${best}.`, "Do not trust this", "bad");
    } else {
      this.say(best, words, badge, tone);
      this.find("h2").title = top[0].label;
    }
    this.node.classList.toggle("unlike", isUnlike);
    top.forEach(item => this.addBar(item));
    this.addRest(top);
    Object.assign(this.find(".familiar"), { textContent: describeFamiliarity(answer), hidden: false });
    if (this.isDrawn) this.showHeat(explanation);
    const sureness = isUnlike ? "but the picture is unlike the training data" : badge.toLowerCase();
    return `${best}, ${percent(top[0].probability)}, ${sureness}.`;
  }

  addBar({ label, probability }) {
    const row = document.createElement("li"), share = document.createElement("span"), bar = document.createElement("span");
    share.textContent = percent(probability);
    bar.className = "bar";
    bar.append(document.createElement("i"));
    bar.firstChild.style.setProperty("--share", `${100 * probability}%`);
    row.append(labelled("span", label, this.names), share, bar);
    this.find(".bars").append(row);
  }

  addRest(top) {
    const count = this.names.size - top.length, rest = 1 - top.reduce((sum, { probability }) => sum + probability, 0);
    if (count < 1 || rest < 0.0005) return;
    const row = document.createElement("li"), share = document.createElement("span");
    row.className = "rest";
    share.textContent = percent(rest);
    row.append(count === 1 ? "The other class" : `The other ${count.toLocaleString("en")} classes together`, share);
    this.find(".bars").append(row);
  }

  showHeat(looks) {
    this.find("figcaption").hidden = false;
    this.find(".switch").hidden = this.find(".heat").hidden = !looks;
    if (!looks) {
      this.find("figcaption p").textContent = "This network has no map of where it looked.";
      return;
    }
    const label = this.names.get(looks.label) ?? looks.label, { width, height } = looks.crop;
    drawHeat(this.find(".heat"), this.find(".photo"), looks);
    this.find(".heat").setAttribute("aria-label", `Where it looked: mostly at the ${nameBrightest(looks.grid)} of what it sees`);
    const edge = Math.min(width, height) < 0.995 ? " It does not see the darkened edge." : "";
    this.find("figcaption p").textContent = `Light: what counted for ${label}.${edge}`;
    this.turnHeat(isHeatShown);
  }

  get isHeatOn() { return this.find(".switch").getAttribute("aria-checked") === "true"; }

  turnHeat(isOn) {
    isHeatShown = isOn; // cards to come do the same
    this.find(".switch").setAttribute("aria-checked", isOn);
    this.find(".heat").classList.toggle("off", !isOn);
    this.find(".heat").setAttribute("aria-hidden", !isOn);
  }
}
